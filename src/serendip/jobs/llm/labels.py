"""Labels of query-item pairs by an LLM.

An LLM is told the words of a request and the item's texts. The words of a drawn list tell a little
of its user (``draw_lists.py``); all others are typed texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serendip.engine.workspace import Workspace
from serendip.errors import UnknownItemError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.pair_files import Pair, is_lists_file, read_pairs, write_rows
from serendip.jobs.llm.job import MAX_TEXT_LENGTH, Question, Writing, describe_item
from serendip.llm.tasks import Judgement, Task

COLUMNS = ("query", "item_id", "label", "confidence", "source", "model", "prompt")


def ask_labels(context: JobContext, pairs: Path, out: Path, prompt: str = "") -> Writing[Judgement]:
    """Ask for a label of each pair of a file; write all labels into another one.

    Labels of an incomplete run go to a partial file beside ``out``. An empty prompt is that of
    lists for lists, else that of typed texts.

    Raises:
        DataError: the file is damaged.
        UnknownItemError: an item is not in the workspace.
    """
    task = Task.of(Judgement, prompt or ("judge-list-1" if is_lists_file(pairs) else ""))
    asked = read_pairs(pairs)

    def keep(answers: Sequence[Judgement | None], model: str) -> dict[str, Any]:
        rows = [
            (*pair, label.label, label.confidence, "llm", model, task.prompt.name)
            for pair, label in zip(asked, answers, strict=True)
            if label is not None
        ]
        partial = out.with_suffix(f".partial{out.suffix}")
        written = partial if None in answers else out
        write_rows(written, COLUMNS, rows)
        if written == out:
            partial.unlink(missing_ok=True)
        bad = sum(row[2] == "bad" for row in rows)
        return {"pairs": len(asked), "written": len(rows), "bad": bad, "out": str(written)}

    return Writing(task, build_questions(context.workspace, asked), keep)


def build_questions(workspace: Workspace, pairs: Sequence[Pair]) -> list[Question]:
    """Query and item texts of each pair."""
    with workspace.open_store() as store:
        items = {item.item_id: item for item in store.items()}
    missing = [item for _, item in pairs if item not in items]
    if missing:
        raise UnknownItemError(
            f"{len(missing)} pairs name items that are not in the workspace, such as "
            f"{missing[0]!r}.",
            "Import the items first.",
        )
    return [
        {"query": query[:MAX_TEXT_LENGTH], "item": describe_item(items[item])}
        for query, item in pairs
    ]
