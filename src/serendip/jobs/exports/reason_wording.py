"""``serendip recommend --batch --llm``: an LLM words the reasons of the answers for all users.

It is given the title of the item, the sentence and what the sentence names, each combination once,
and never a user. A wording that lacks a name or names anything else is dropped: the sentence stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from serendip.data.items.catalogue import Catalogue
from serendip.engine.explanations.explain import Reason
from serendip.jobs.llm.job import Question, Writing
from serendip.llm.reason_task import NamedThings, WordedReason
from serendip.llm.tasks import Task


class ShownReason(NamedTuple):
    """A reason beside the title of the item that it is given for."""

    title: str
    reason: Reason


@dataclass(frozen=True, eq=False)
class ReasonWriting(Writing[WordedReason]):
    """Asks for a wording of every different reason.

    Args:
        shown: reasons; each is asked for once.
        catalogue: whose values and titles a wording must not add.
        sentences: reason -> wording; reasons without one keep their sentence.
    """

    shown: Sequence[ShownReason]
    catalogue: Catalogue
    sentences: dict[ShownReason, str] = field(default_factory=dict)

    task = Task.of(WordedReason)

    @cached_property
    def asked(self) -> list[ShownReason]:
        """The different reasons."""
        return [one for one in dict.fromkeys(self.shown) if one.reason.text]

    def questions(self) -> list[Question]:
        """One about each."""
        return [
            {"item": title, "reason": reason.text, "names": list(reason.names)}
            for title, reason in self.asked
        ]

    def keep(self, answers: Sequence[WordedReason | None], model: str) -> dict[str, Any]:
        """Keep the sentences that name nothing else; the task has checked their kind."""
        values = {word for row in range(len(self.catalogue)) for word in self.catalogue.words(row)}
        names = NamedThings.of(values, (item.title for item in self.catalogue.items))
        dropped: Counter[str] = Counter()
        for one, data, answer in zip(self.asked, self.questions(), answers, strict=True):
            if answer is None:
                dropped["no answer"] += 1
            elif next(names.others(answer.sentence, data), ""):
                dropped["names another thing of the catalogue"] += 1
            else:
                self.sentences[one] = " ".join(answer.sentence.split())
        worded = len(self.sentences)
        return {"reasons": len(self.asked), "worded": worded, "dropped": dict(dropped)}
