"""Runs LLM jobs: one process per job, within a budget, each answer paid for once.

A ``Writing`` has a task, its questions and a use for the answers. This module does the rest: the
lock, the LLM of ``[llm]``, the ledger, the cost estimate, the requests and a summary.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Generic

from serendip.data.items.catalogue import Item
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.llm.config import LlmConfig
from serendip.llm.ledger import Ledger
from serendip.llm.openai import EndpointLlm
from serendip.llm.runner import CostEstimate, RunOptions, ask_all, estimate_cost
from serendip.llm.tasks import AnswerT, Task
from serendip.runtime.atomic_files import exclusive_lock

Question = Mapping[str, Any]
"""Data of one question, by the names that the task's prompt uses."""

MAX_TEXT_LENGTH = 600
_MAX_ATTRIBUTES = 12


@dataclass(frozen=True, slots=True)
class LlmJob:
    """Name and limits of one run.

    Args:
        name: key in the ledger; a run of the same name continues the previous one.
        budget: of all runs of the job together.
        on_estimate: called with the estimate before the first request.
    """

    name: str
    budget: float
    estimate_only: bool = False
    on_estimate: Callable[[CostEstimate], None] = lambda cost: None


class Writing(ABC, Generic[AnswerT]):
    """What an LLM is asked to write, and what becomes of its answers."""

    @property
    @abstractmethod
    def task(self) -> Task[AnswerT]:
        """Prompt and schema of the answers."""

    @abstractmethod
    def questions(self) -> Sequence[Question]:
        """Called after the job got its lock and its LLM is ready."""

    @abstractmethod
    def keep(self, answers: Sequence[AnswerT | None], model: str) -> Mapping[str, Any]:
        """Store the answers, in the questions' order; None = none. Returns what was stored."""


def write(context: JobContext, writing: Writing[AnswerT], job: LlmJob) -> dict[str, Any]:
    """Ask the LLM of a workspace all questions that its ledger has no answer to; keep the answers.

    Returns:
        the ``estimate``; after a run also its ``state``, ``reason``, number of questions that
        ``failed``, what was ``spent``, and what was stored.

    Raises:
        ConfigError: no LLM is configured, its prices are missing, or the budget is negative or not
            a number.
        StorageError: the ledger or the answers cannot be written, or another process runs the same
            job.
    """
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
    # Without a lock two concurrent runs would pay for the same answers.
    lock = workspace.cache / "llm" / hashlib.sha256(job.name.encode()).hexdigest()[:16]
    with (
        closing(open_llm(config)) as llm,
        exclusive_lock(lock),
        workspace.exclusive(f"job {job.name}"),
        Ledger.open(workspace.database) as ledger,
    ):
        questions = writing.questions()
        cost = estimate_cost(writing.task, questions, llm.model, ledger, options)
        job.on_estimate(cost)
        if job.estimate_only:
            return {"estimate": asdict(cost)}
        outcome = ask_all(writing.task, questions, llm, ledger, options)
    return {
        "estimate": asdict(cost),
        "state": outcome.state,
        "reason": outcome.reason,
        "failed": len(outcome.failures),
        "spent": outcome.spent,
        **writing.keep(outcome.answers, llm.model),
    }


def open_llm(config: LlmConfig) -> EndpointLlm:
    """Open the configured LLM.

    Raises:
        ConfigError: no LLM is configured, or a setting of the endpoint is missing.
        ExtraMissing: a required package is not installed.
    """
    if config.provider == "off":
        raise ConfigError(
            "no LLM is configured.",
            "Set [llm] provider = 'endpoint', base_url and model in serendip.toml.",
        )
    return EndpointLlm(config)


def describe_item(item: Item) -> Question:
    """Title, description and attributes of an item for a prompt, truncated.

    Attributes are nested under one key: the catalogue chooses their names, and an attribute may be
    called ``title``.
    """
    names = list(item.attributes)[:_MAX_ATTRIBUTES]
    texts = {
        "title": item.title[:MAX_TEXT_LENGTH],
        "description": item.description[:MAX_TEXT_LENGTH],
        "attributes": {name: item.field_text(name)[:MAX_TEXT_LENGTH] for name in names},
    }
    return {name: value for name, value in texts.items() if value}
