"""How every LLM job runs: one process at a time, within a budget, each answer paid for once.

A job brings a task and questions, and keeps the answers; everything between is done here: the
lock, the LLM of ``[llm]``, the ledger, the cost estimate, the calls and the facts about them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic

from serendip.content.encoders.weights import verify_weights
from serendip.data.item import Item
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.llm.client import Llm
from serendip.llm.config import LlmConfig
from serendip.llm.ledger import Ledger
from serendip.llm.local import PACKAGE, LocalLlm
from serendip.llm.openai import EndpointLlm
from serendip.llm.runner import CostEstimate, Outcome, RunOptions, ask_all, estimate_cost
from serendip.llm.tasks import AnswerT, Task
from serendip.runtime.atomic_files import exclusive_lock

LONGEST_TEXT = 600
"""Characters of a text that an LLM reads."""

_MOST_ATTRIBUTES = 12

Question = Mapping[str, Any]
"""Data of one question, as the prompt of the task names it."""


def ignore_estimate(cost: CostEstimate) -> None:
    """Show an estimate to nobody."""


@dataclass(frozen=True, slots=True)
class LlmJob:
    """Name and limits of one run.

    Args:
        name: in the ledger; a run of the same name continues where the last one ended.
        budget: of all runs of the job together.
        estimate_only: nothing is sent and nothing written.
        on_estimate: called with the estimate before anything is sent.
    """

    name: str
    budget: float
    estimate_only: bool = False
    on_estimate: Callable[[CostEstimate], None] = ignore_estimate


@dataclass(frozen=True, slots=True)
class LlmJobResult(Generic[AnswerT]):
    """What one run cost and answered.

    Args:
        model: name of the LLM.
        estimate: before the run.
        outcome: answers and spend; None after an estimate alone.
    """

    model: str
    estimate: CostEstimate
    outcome: Outcome[AnswerT] | None

    def to_json(self) -> dict[str, Any]:
        """The estimate; after a run also its state, reason, number of failures and spend."""
        facts: dict[str, Any] = {"estimate": asdict(self.estimate)}
        if self.outcome is not None:
            facts |= {
                "state": self.outcome.state,
                "reason": self.outcome.reason,
                "failed": len(self.outcome.failures),
                "spent": self.outcome.spent,
            }
        return facts


@dataclass(frozen=True, slots=True)
class LlmSession(Generic[AnswerT]):
    """A job's LLM and ledger while the job holds its lock.

    Args:
        task: prompt and schema of the answers.
        job: name and limits.
        llm: where questions are sent.
        ledger: every call, and every answer that was paid for.
        options: limits, prices and progress of a run.
    """

    task: Task[AnswerT]
    job: LlmJob
    llm: Llm
    ledger: Ledger
    options: RunOptions

    def estimate(self, questions: Sequence[Question]) -> CostEstimate:
        """Estimate the cost of the questions without an answer, and report it."""
        cost = estimate_cost(self.task, questions, self.llm.model, self.ledger, self.options)
        self.job.on_estimate(cost)
        return cost

    def run(self, questions: Sequence[Question]) -> LlmJobResult[AnswerT]:
        """Estimate, then ask all questions without an answer unless only estimating.

        Raises:
            StorageError: the ledger takes no rows.
        """
        cost = self.estimate(questions)
        if self.job.estimate_only:
            return LlmJobResult(self.llm.model, cost, None)
        outcome = ask_all(self.task, questions, self.llm, self.ledger, self.options)
        return LlmJobResult(self.llm.model, cost, outcome)


def run_llm_job(
    context: JobContext,
    task: Task[AnswerT],
    questions: Callable[[], Sequence[Question]],
    job: LlmJob,
) -> LlmJobResult[AnswerT]:
    """Ask the LLM of a workspace; answers in its ledger are not asked for again.

    Args:
        context: workspace and progress.
        task: prompt and schema of the answers.
        questions: called once the job holds its lock and its LLM is ready.
        job: name and limits.

    Raises:
        ConfigError: no LLM is configured, its prices are missing, or the budget is not a number
            of at least 0.
        StorageError: the ledger takes no rows, or another process runs the same job.
    """
    with open_llm_job(context, task, job) as session:
        return session.run(questions())


@contextmanager
def open_llm_job(
    context: JobContext, task: Task[AnswerT], job: LlmJob
) -> Iterator[LlmSession[AnswerT]]:
    """Hold a job's lock, its LLM and its ledger open; raises as ``run_llm_job`` does."""
    config, workspace = context.settings.llm, context.workspace
    options = RunOptions(
        job.name,
        job.budget,
        config.prices(),
        config.concurrency,
        config.attempts,
        config.max_tokens,
        progress=context.options.progress,
    )
    with (
        open_llm(config) as llm,
        exclusive_lock(job_folder(workspace, job.name)),
        closing(Ledger.open(workspace.database)) as ledger,
    ):
        yield LlmSession(task, job, llm, ledger, options)


@contextmanager
def open_llm(config: LlmConfig) -> Iterator[Llm]:
    """Open the configured LLM; a local one is stopped at the end.

    Raises:
        ArtefactError: the weights of a local one differ from those of ``models.lock``.
        ConfigError: no LLM is configured, or a setting of the endpoint is missing.
        ExtraMissing: a package that it needs is not installed.
    """
    if config.provider == "off":
        raise ConfigError(
            "no LLM is configured.",
            "Set [llm] provider = 'endpoint', base_url and model in serendip.toml, or 'local'.",
        )
    if config.provider == "endpoint":
        with closing(EndpointLlm(config)) as endpoint:
            yield endpoint
        return
    with LocalLlm(verify_weights(PACKAGE), config) as local:
        yield local


def job_folder(workspace: Workspace, name: str) -> Path:
    """Folder of a job's lock: two runs at once would pay for the same answers twice."""
    return workspace.cache / "llm" / hashlib.sha256(name.encode()).hexdigest()[:16]


def item_texts(item: Item) -> Question:
    """Title, description and attributes of an item, cut to what an LLM needs.

    Attributes stand under a key of their own: the catalogue chooses their names, and one of them
    may be ``title``.
    """
    names = list(item.attributes)[:_MOST_ATTRIBUTES]
    texts = {
        "title": item.title[:LONGEST_TEXT],
        "description": item.description[:LONGEST_TEXT],
        "attributes": {name: item.field_text(name)[:LONGEST_TEXT] for name in names},
    }
    return {name: value for name, value in texts.items() if value}
