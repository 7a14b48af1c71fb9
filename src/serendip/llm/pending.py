"""Of many questions: which are answered, which are out in a file, and which are left to ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from serendip.llm.ledger import Call, Ledger
from serendip.llm.prompt import data_key
from serendip.llm.task import AnswerT, Task, WrongAnswer


@dataclass(frozen=True, slots=True)
class Pending(Generic[AnswerT]):
    """Different questions, each in one of three places, by the key of its data.

    Args:
        call: what is asked, but for the data.
        answers: those in the ledger that still fit the schema.
        batched: data key -> (row, the most that it can cost) of what is out in a file.
        waiting: data of what is out in a file.
        left: data of everything else.
    """

    call: Call
    answers: dict[str, AnswerT]
    batched: dict[str, tuple[int, float]]
    waiting: dict[str, Mapping[str, Any]]
    left: dict[str, Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        task: Task[AnswerT],
        questions: Sequence[Mapping[str, Any]],
        model: str,
        ledger: Ledger,
        job: str,
    ) -> Pending[AnswerT]:
        """As the ledger has it.

        Raises:
            StorageError: the ledger cannot be read.
        """
        call = Call(job, task.prompt.name, task.prompt.digest, model, "")
        different = {data_key(data): data for data in questions}
        answers = {}
        for name, text in ledger.answers(call, different).items():
            try:
                answers[name] = task.read(text, different[name])
            except WrongAnswer:
                continue
        open_ones = [name for name in different if name not in answers]
        batched = ledger.batched(call, open_ones)
        return cls(
            call,
            answers,
            batched,
            {name: different[name] for name in open_ones if name in batched},
            {name: different[name] for name in open_ones if name not in batched},
        )
