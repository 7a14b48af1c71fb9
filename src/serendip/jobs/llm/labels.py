"""Labels of query-item pairs by an LLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from serendip.jobs.context import JobContext
from serendip.jobs.labels.llm_questions import build_questions
from serendip.jobs.labels.pair_files import Pair, read_pairs, write_rows
from serendip.jobs.labels.shown_lists import is_lists_file
from serendip.jobs.llm.job import Question, Writing
from serendip.llm.tasks import Judgement, Task, judge_task

COLUMNS = ("query", "item_id", "label", "confidence", "source", "model", "prompt")


@dataclass(frozen=True, eq=False)
class LabelWriting(Writing[Judgement]):
    """Asks for a label of each pair and writes all labels into a file.

    Args:
        context: its items.
        pairs: file with ``query`` and ``item_id``.
        out: file of labels.
        prompt: name with version; empty = that of lists for lists, else that of typed texts.
    """

    context: JobContext
    pairs: Path
    out: Path
    prompt: str = ""

    @cached_property
    def task(self) -> Task[Judgement]:
        """See ``Writing``."""
        prompt = "judge-list-1" if is_lists_file(self.pairs) else "judge-1"
        return judge_task(self.prompt or prompt)

    @cached_property
    def asked(self) -> list[Pair]:
        """Different pairs, in order.

        Raises:
            DataError: the file is damaged.
        """
        return read_pairs(self.pairs)

    def questions(self) -> list[Question]:
        """One about each pair.

        Raises:
            UnknownItemError: an item is not in the workspace.
        """
        return [*build_questions(self.context.workspace, self.asked)]

    def keep(self, answers: Sequence[Judgement | None], model: str) -> dict[str, Any]:
        """Write all labels; those of an incomplete run go to a partial file beside ``out``."""
        rows = [
            (*pair, label.label, label.confidence, "llm", model, self.task.prompt.name)
            for pair, label in zip(self.asked, answers, strict=True)
            if label is not None
        ]
        partial = self.out.with_suffix(f".partial{self.out.suffix}")
        out = partial if None in answers else self.out
        write_rows(out, COLUMNS, rows)
        if out == self.out:
            partial.unlink(missing_ok=True)
        bad = sum(row[2] == "bad" for row in rows)
        return {"pairs": len(self.asked), "written": len(rows), "bad": bad, "out": str(out)}
