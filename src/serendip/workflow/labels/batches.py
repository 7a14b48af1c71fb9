"""Batch files of ``serendip judge run``: what leaves in them, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serendip.llm.batch_file import read_batch, write_batch
from serendip.llm.client import Llm
from serendip.llm.endpoint import EndpointLlm
from serendip.llm.judge import Judgement
from serendip.llm.ledger import Ledger
from serendip.llm.run import RunOptions
from serendip.llm.task import Task


@dataclass(frozen=True, slots=True)
class Batches:
    """Of one run.

    Args:
        task: what is asked.
        questions: about what.
        llm: of a server, where something is to be written; nothing is sent to it.
        ledger: where what is out waits.
        options: job, budget and prices.
    """

    task: Task[Judgement]
    questions: Sequence[Mapping[str, Any]]
    llm: Llm
    ledger: Ledger
    options: RunOptions

    def write(self, path: Path) -> dict[str, Any]:
        """What was written to a file, what is left, and what the job may have to pay by now.

        Raises:
            ConfigError: the file is there, or has no place.
        """
        assert isinstance(self.llm, EndpointLlm)
        place = (self.task, self.questions, self.llm, self.ledger, self.options)
        written = asdict(write_batch(path, *place))
        return {**written, "spent": self.ledger.spent(self.options.job), "batch_file": str(path)}

    def read(self, path: Path) -> dict[str, int]:
        """What a file of answers held.

        Raises:
            DataError: the file is missing, or no text.
        """
        place = (self.task, self.questions, self.llm.model, self.ledger, self.options)
        return asdict(read_batch(path, *place))

    def forget(self) -> int:
        """Number of questions that are not waited for any more."""
        return self.ledger.forget_batches(self.options.job)
