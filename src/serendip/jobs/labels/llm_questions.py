"""Data of a pair that an LLM labels: the words of its request, and the item's texts.

The words of a drawn list tell a little of its user (``draw_lists.py``); all others are typed texts.

``serendip judge export`` writes labels as conversations to fine-tune an LLM on elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from serendip.engine.workspace import Workspace
from serendip.errors import UnknownItemError
from serendip.jobs.labels.pair_files import Pair, read_labels
from serendip.jobs.llm.job import MAX_TEXT_LENGTH, describe_item
from serendip.llm.tasks import Judgement, judge_task
from serendip.runtime.atomic_files import write_text


def build_questions(workspace: Workspace, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Query and item texts of each pair.

    Raises:
        UnknownItemError: an item is not in the workspace.
    """
    with closing(workspace.open_store()) as store:
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

    Args:
        workspace: its items.
        labels: file of labels, by people or by an LLM that passed the gate.
        out: JSONL file of ``{"messages": [system, user, assistant]}``.
        prompt: name with version; use the same one with the fine-tuned model.

    Returns:
        number of conversations.

    Raises:
        ConfigError: the prompt is unknown, or the file cannot be written.
        DataError: the labels are damaged.
        UnknownItemError: a labelled item is not in the workspace.
    """
    is_irrelevant, task = read_labels(labels), judge_task(prompt)
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
