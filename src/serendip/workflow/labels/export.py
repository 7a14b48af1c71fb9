"""``serendip judge export``: labels as examples that an LLM is fine-tuned on, elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

from serendip.engine.workspace import Workspace
from serendip.llm.judge import Judgement, judge_task
from serendip.workflow.bench.files import write_whole
from serendip.workflow.labels.pair_files import read_labels
from serendip.workflow.labels.questions import questions_about


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
    write_whole(out, "".join(lines))
    return len(lines)
