"""Labels of query-item pairs by an LLM, and labels as conversations to fine-tune one on.

An LLM is told the words of a request and the item's texts. The words of a drawn list tell a little
of its user (``draw_lists.py``); all others are typed texts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serendip.engine.workspace import Workspace
from serendip.errors import UnknownItemError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.pair_files import Pair, is_lists_file, read_labels, read_pairs, write_rows
from serendip.jobs.llm.job import MAX_TEXT_LENGTH, Question, Writing, describe_item
from serendip.llm.tasks import Judgement, Task
from serendip.runtime.atomic_files import write_text

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


def export_chats(workspace: Workspace, labels: Path, out: Path, prompt: str) -> int:
    """Write one conversation per line: the prompt for a pair, and its label as the answer.

    Labels are by people or by an LLM that passed the gate; a line is ``{"messages": [system, user,
    assistant]}``; use the same prompt with the fine-tuned model. Returns the number of
    conversations.

    Raises:
        ConfigError: the prompt is unknown.
        StorageError: the file cannot be written.
        DataError: the labels are damaged.
        UnknownItemError: a labelled item is not in the workspace.
    """
    is_irrelevant, task = read_labels(labels), Task.of(Judgement, prompt)
    questions = build_questions(workspace, list(is_irrelevant))
    lines = []
    for question, label in zip(questions, is_irrelevant.values(), strict=True):
        request = task.request(question, max_tokens=1)
        answer = Judgement(id=request.data_id, label="bad" if label else "good", confidence=1.0)
        messages = [
            {"role": "system", "content": request.system},
            {"role": "user", "content": request.user},
            {"role": "assistant", "content": answer.model_dump_json()},
        ]
        lines.append(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    write_text(out, "".join(lines))
    return len(lines)
