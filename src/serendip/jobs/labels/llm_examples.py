"""Questions about pairs for an LLM, and ``serendip judge export``: labels as fine-tuning data.

A question has the query and the item's texts, and nothing about users.
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
from serendip.jobs.llm_job import MAX_TEXT_LENGTH, describe_item
from serendip.llm.tasks import Judgement, judge_task
from serendip.runtime.atomic_files import write_text


def build_questions(workspace: Workspace, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Build the question of each pair: its query and item texts.

    Raises:
        UnknownItemError: an item is not in the workspace.
    """
    with closing(workspace.open_store()) as store:
        items = {item.item_id: item for item in store.items()}
    missing = [item for _, item in pairs if item not in items]
    if missing:
        raise UnknownItemError(
            f"{len(missing)} pairs have unknown items, for example {missing[0]!r}.",
            "Import the items first: `serendip import`.",
        )
    return [
        {"query": query[:MAX_TEXT_LENGTH], "item": describe_item(items[item])}
        for query, item in pairs
    ]


def export_chats(workspace: Workspace, labels: Path, out: Path, prompt: str) -> int:
    """Write labels as chats for fine-tuning an LLM, one per line.

    Args:
        workspace: of the items.
        labels: file of labels, by people or by a labeller that passed the gate.
        out: JSONL file of ``{"messages": [system, user, assistant]}``.
        prompt: name with version; use the fine-tuned model with the same prompt.

    Returns:
        number of chats.

    Raises:
        ConfigError: the prompt is unknown, or ``out`` cannot be written.
        DataError: the file of labels is broken, or has unknown items.
    """
    is_bad_by_pair, task = read_labels(labels), judge_task(prompt)
    questions = build_questions(workspace, list(is_bad_by_pair))
    lines = []
    for data, is_bad in zip(questions, is_bad_by_pair.values(), strict=True):
        request = task.request(data, max_tokens=1)
        answer = Judgement(id=request.data_id, label="bad" if is_bad else "good", confidence=1.0)
        messages = [
            {"role": "system", "content": request.system},
            {"role": "user", "content": request.user},
            {"role": "assistant", "content": answer.model_dump_json()},
        ]
        lines.append(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    write_text(out, "".join(lines))
    return len(lines)
