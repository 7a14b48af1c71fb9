"""``serendip judge run``: labels of pairs by an LLM, each with where it comes from.

Batch files of ``serendip judge run``: what leaves in them, and what comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serendip.engine.workspace import DATABASE_FILE, Workspace
from serendip.errors import ConfigError
from serendip.jobs.labels.llm_examples import questions_about
from serendip.jobs.labels.pair_files import Pair, read_pairs, write_rows
from serendip.jobs.llm_job import job_folder, open_llm
from serendip.llm.batch_api import read_batch, write_batch
from serendip.llm.client import Llm
from serendip.llm.ledger import Ledger
from serendip.llm.openai import EndpointLlm
from serendip.llm.runner import CostEstimate, Outcome, RunOptions, ask_all, estimate
from serendip.llm.tasks import Judgement, Task, judge_task
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.progress import Progress


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


COLUMNS = ("query", "item_id", "label", "confidence", "source", "model", "prompt")


@dataclass(frozen=True, slots=True)
class Labelling:
    """What to judge.

    Args:
        pairs: file with ``query`` and ``item_id``.
        out: file of labels.
        budget: of the job, all its runs together.
        job: its name in the ledger; "" = that of ``out``.
        prompt: name with version.
        batch_file: where questions are written instead of being asked; None = they are asked.
        batch_answers: file of answers to such a file, taken before anything else is asked.
        forgets_batches: whether what is out in files of the job is not waited for any more.
    """

    pairs: Path
    out: Path
    budget: float
    job: str = ""
    prompt: str = "judge-1"
    batch_file: Path | None = None
    batch_answers: Path | None = None
    forgets_batches: bool = False


def label_pairs(
    workspace: Workspace,
    labelling: Labelling,
    progress: Progress,
    on_estimate: Callable[[CostEstimate], None] = lambda told: None,
    only_estimate: bool = False,
) -> dict[str, Any]:
    """Ask about all pairs that were not judged before, and write all labels.

    Args:
        workspace: its items, its ledger and its ``[llm]``.
        labelling: what to judge.
        progress: follows the questions.
        on_estimate: is told what it will cost before anything is sent.
        only_estimate: whether nothing is sent and nothing written.

    Returns:
        estimate, state, counts and spend; what came of batch files.

    Raises:
        ConfigError: no LLM is configured, the budget is no number, or a file is in the way.
        DataError: the pairs are broken, or name items that are not there.
        StorageError: the database takes no rows, or another process is at this job.
    """
    config, task = workspace.settings.llm, judge_task(labelling.prompt)
    if labelling.batch_file is not None and config.provider == "local":
        raise ConfigError("a batch file is for a server.", "Set [llm] provider = 'endpoint'.")
    pairs = read_pairs(labelling.pairs)
    questions = questions_about(workspace, pairs)
    options = RunOptions(
        labelling.job or labelling.out.name,
        labelling.budget,
        config.prices(),
        config.concurrency,
        config.attempts,
        config.max_tokens,
        progress=progress,
    )
    with (
        exclusive_lock(job_folder(workspace, options.job)),
        open_llm(config) as llm,
        closing(_ledger(workspace)) as ledger,
    ):
        batches = Batches(task, questions, llm, ledger, options)
        taken = {} if only_estimate else _taken(labelling, batches)
        told = estimate(task, questions, llm.model, ledger, options)
        on_estimate(told)
        if only_estimate:
            return {"estimate": asdict(told)}
        if labelling.batch_file is not None:
            written = batches.write(labelling.batch_file)
            return {"estimate": asdict(told), "state": "batched", **taken, **written}
        outcome = ask_all(task, questions, llm, ledger, options)
    out = _write(labelling, task, llm.model, pairs, outcome)
    return {"estimate": asdict(told), **taken, **_told(outcome, out)}


def _taken(labelling: Labelling, batches: Batches) -> dict[str, Any]:
    """What came of earlier batch files: answers first, which are not to be forgotten."""
    taken: dict[str, Any] = {}
    if labelling.batch_answers is not None:
        taken["taken"] = batches.read(labelling.batch_answers)
    if labelling.forgets_batches:
        taken["forgotten"] = batches.forget()
    return taken


def _ledger(workspace: Workspace) -> Ledger:
    return Ledger.open(workspace.folder / DATABASE_FILE)


def _write(
    labelling: Labelling,
    task: Task[Judgement],
    model: str,
    pairs: list[Pair],
    outcome: Outcome[Judgement],
) -> Path:
    """All labels into the file, or those that there are into a partial one beside it."""
    rows = [
        (query, item, one.label, one.confidence, "llm", model, task.prompt.name)
        for (query, item), one in zip(pairs, outcome.answers, strict=True)
        if one is not None
    ]
    partial = labelling.out.with_suffix(f".partial{labelling.out.suffix}")
    if outcome.state == "partial":
        write_rows(partial, COLUMNS, rows)
        return partial
    write_rows(labelling.out, COLUMNS, rows)
    partial.unlink(missing_ok=True)
    return labelling.out


def _told(outcome: Outcome[Judgement], out: Path) -> dict[str, Any]:
    labels = [one.label for one in outcome.answers if one is not None]
    return {
        "state": outcome.state,
        "reason": outcome.reason,
        "pairs": len(outcome.answers),
        "labelled": len(labels),
        "bad": labels.count("bad"),
        "failed": len(outcome.failures),
        "batched": outcome.batched,
        "spent": outcome.spent,
        "out": str(out),
    }
