"""What an LLM is told of a pair: words and the item's texts, and never who asked.

``serendip judge export``: labels as examples that an LLM is fine-tuned on, elsewhere.
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
from serendip.jobs.llm_job import LONGEST_TEXT, item_texts
from serendip.llm.tasks import Judgement, judge_task
from serendip.runtime.atomic_files import write_text


def questions_about(workspace: Workspace, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Of each pair what is told of it.

    Raises:
        UnknownItemError: an item is not in the workspace.
    """
    with closing(workspace.open_store()) as store:
        items = {item.item_id: item for item in store.items()}
    missing = [item for _, item in pairs if item not in items]
    if missing:
        raise UnknownItemError(
            f"{len(missing)} pairs name items that are not there, as {missing[0]!r}.",
            "Import the items first.",
        )
    return [
        {"query": query[:LONGEST_TEXT], "item": item_texts(items[item])} for query, item in pairs
    ]


def export_chats(workspace: Workspace, labels: Path, out: Path, prompt: str) -> int:
    """Write one conversation a line, as a judge is asked and should answer.

    Args:
        workspace: its items.
        labels: file of labels, by people or anything that passed the gate.
        out: JSONL file of ``{"messages": [system, user, assistant]}``.
        prompt: name with version; the tuned model is to be asked by the same.

    Returns:
        number of conversations.

    Raises:
        ConfigError: the prompt is not known, or the place cannot be written to.
        DataError: the labels are broken, or name items that are not there.
    """
    found, task = read_labels(labels), judge_task(prompt)
    lines = []
    for data, is_bad in zip(questions_about(workspace, list(found)), found.values(), strict=True):
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
