"""``serendip judge run``: an LLM labels query-item pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serendip.jobs.context import JobContext
from serendip.jobs.labels.llm_examples import build_questions
from serendip.jobs.labels.pair_files import Pair, read_pairs, write_rows
from serendip.jobs.labels.shown_lists import is_lists_file
from serendip.jobs.llm.job import LlmJob, LlmJobResult, run_llm_job
from serendip.llm.runner import Outcome
from serendip.llm.tasks import Judgement, judge_task

COLUMNS = ("query", "item_id", "label", "confidence", "source", "model", "prompt")


@dataclass(frozen=True, slots=True)
class Labelling:
    """Pairs to label, and the files of questions and answers.

    Args:
        pairs: file with ``query`` and ``item_id``.
        out: file of labels.
        prompt: name with version; empty = that of lists for lists, else that of typed texts.
    """

    pairs: Path
    out: Path
    prompt: str = ""


def label_pairs(context: JobContext, labelling: Labelling, job: LlmJob) -> dict[str, Any]:
    """Label all pairs that have no label in the ledger, and write all labels.

    Args:
        context: items, ledger and ``[llm]``.
        labelling: pairs and files.
        job: name and limits.

    Returns:
        estimate, state, counts and spend.

    Raises:
        ConfigError: no LLM is configured, the budget is not a number of at least 0, or a file
            cannot be written.
        DataError: the pairs are damaged, or name unknown items.
        StorageError: the database cannot be written, or another process runs this job.
    """
    pairs = read_pairs(labelling.pairs)
    labelling = replace(labelling, prompt=labelling.prompt or _choose_prompt(labelling.pairs))
    questions = build_questions(context.workspace, pairs)
    result = run_llm_job(context, judge_task(labelling.prompt), lambda: questions, job)
    if result.outcome is None:
        return result.to_json()
    return {**result.to_json(), **_write_labels(labelling, pairs, result, result.outcome)}


def _choose_prompt(pairs: Path) -> str:
    return "judge-list-1" if is_lists_file(pairs) else "judge-1"


def _write_labels(
    labelling: Labelling,
    pairs: Sequence[Pair],
    result: LlmJobResult[Judgement],
    outcome: Outcome[Judgement],
) -> dict[str, Any]:
    """Write all labels; those of an incomplete run go to a partial file beside ``out``."""
    rows = [
        (query, item, label.label, label.confidence, "llm", result.model, labelling.prompt)
        for (query, item), label in zip(pairs, outcome.answers, strict=True)
        if label is not None
    ]
    out = labelling.out
    partial = out.with_suffix(f".partial{out.suffix}")
    is_complete = outcome.state == "complete"
    write_rows(out if is_complete else partial, COLUMNS, rows)
    if is_complete:
        partial.unlink(missing_ok=True)
    labels = [row[2] for row in rows]
    return {
        "pairs": len(pairs),
        "labelled": len(labels),
        "bad": labels.count("bad"),
        "out": str(out if is_complete else partial),
    }
