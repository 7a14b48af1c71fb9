"""``serendip judge run``: an LLM labels query-item pairs, by requests or by batch files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.llm_examples import build_questions
from serendip.jobs.labels.pair_files import Pair, read_pairs, write_rows
from serendip.jobs.labels.shown_lists import is_lists_file
from serendip.jobs.llm.job import LlmJob, LlmJobResult, LlmSession, Question, open_llm_job
from serendip.llm.batch_api import read_batch, write_batch
from serendip.llm.openai import EndpointLlm
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
        batch_file: questions are written to this file instead of being sent; None = sent.
        batch_answers: answers to such a file, read before anything is sent.
        forgets_batches: send questions again that are in batch files of the job without an answer.
    """

    pairs: Path
    out: Path
    prompt: str = ""
    batch_file: Path | None = None
    batch_answers: Path | None = None
    forgets_batches: bool = False


def label_pairs(context: JobContext, labelling: Labelling, job: LlmJob) -> dict[str, Any]:
    """Label all pairs that have no label in the ledger, and write all labels.

    Args:
        context: items, ledger and ``[llm]``.
        labelling: pairs and files.
        job: name and limits.

    Returns:
        estimate, state, counts, spend and the counts of batch files.

    Raises:
        ConfigError: no LLM is configured, the budget is not a number of at least 0, or a file
            cannot be written.
        DataError: the pairs are damaged, or name unknown items.
        StorageError: the database cannot be written, or another process runs this job.
    """
    if labelling.batch_file is not None and context.settings.llm.provider == "local":
        raise ConfigError("--batch-file needs a server.", "Set [llm] provider = 'endpoint'.")
    pairs = read_pairs(labelling.pairs)
    labelling = replace(labelling, prompt=labelling.prompt or _choose_prompt(labelling.pairs))
    questions = build_questions(context.workspace, pairs)
    with open_llm_job(context, judge_task(labelling.prompt), job) as session:
        facts = {} if job.estimate_only else _read_batches(labelling, session, questions)
        if labelling.batch_file is not None and not job.estimate_only:
            return {**facts, **_write_batch(labelling.batch_file, session, questions)}
        result = session.run(questions)
    if result.outcome is None:
        return result.to_json()
    return {**facts, **result.to_json(), **_write_labels(labelling, pairs, result, result.outcome)}


def _choose_prompt(pairs: Path) -> str:
    return "judge-list-1" if is_lists_file(pairs) else "judge-1"


def _read_batches(
    labelling: Labelling, session: LlmSession[Judgement], questions: Sequence[Question]
) -> dict[str, Any]:
    """Counts of read and forgotten answers of batch files; reading comes first, so none is lost."""
    facts: dict[str, Any] = {}
    ledger, options = session.ledger, session.options
    if labelling.batch_answers is not None:
        model, answers = session.llm.model, labelling.batch_answers
        counts = read_batch(answers, session.task, questions, model, ledger, options)
        facts["taken"] = asdict(counts)
    if labelling.forgets_batches:
        facts["forgotten"] = ledger.forget_batches(options.job)
    return facts


def _write_batch(
    path: Path, session: LlmSession[Judgement], questions: Sequence[Question]
) -> dict[str, Any]:
    """Write the questions to a file for a batch API; nothing is sent."""
    assert isinstance(session.llm, EndpointLlm)
    ledger, options = session.ledger, session.options
    cost = session.estimate(questions)
    counts = write_batch(path, session.task, questions, session.llm, ledger, options)
    return {
        "estimate": asdict(cost),
        "state": "batched",
        **asdict(counts),
        "spent": ledger.spent(options.job),
        "batch_file": str(path),
    }


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
        "batched": outcome.batched,
        "out": str(out if is_complete else partial),
    }
