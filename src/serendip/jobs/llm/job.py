"""Runs LLM jobs: one process per job, within a budget, each answer paid for once.

A ``Writing`` has a task, its questions and a use for the answers. This module does the rest: the
lock, the LLM of ``[llm]``, the ledger, the cost estimate, the requests and a summary.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

from serendip.data import Catalogue, Dataset, Item
from serendip.data.store.tables.generated import Generated, Kind, without_generated
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.llm.client import LlmConfig
from serendip.llm.ledger import Ledger
from serendip.llm.openai import EndpointLlm
from serendip.llm.runner import CostEstimate, RunOptions, ask_all, estimate_cost
from serendip.llm.tasks import AnswerT, Task
from serendip.runtime.atomic_files import exclusive_lock

Question = Mapping[str, Any]
"""Data of one question, by the names that the task's prompt uses."""

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

MAX_TEXT_LENGTH = 600
_MAX_ATTRIBUTES = 12


@dataclass(frozen=True, slots=True, eq=False)
class Writing(Generic[AnswerT]):
    """What an LLM is asked to write, and what becomes of its answers.

    Args:
        keep: stores the answers of a model, in the questions' order, None = no answer; returns what
            was stored.
    """

    task: Task[AnswerT]
    questions: Sequence[Question]
    keep: Callable[[Sequence[AnswerT | None], str], Mapping[str, Any]]


def write(
    context: JobContext,
    writing: Writing[AnswerT],
    job: str,
    budget: float,
    estimate_only: bool = False,
    on_estimate: Callable[[CostEstimate], None] = lambda cost: None,
) -> dict[str, Any]:
    """Ask the LLM of a workspace all questions that its ledger has no answer to; keep the answers.

    ``job`` is the key in the ledger: a run of the same name continues the previous one, and the
    budget is that of all together. ``on_estimate`` gets the estimate before the first request.

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
        job,
        budget,
        config.prices(),
        config.concurrency,
        config.attempts,
        config.max_tokens,
        progress=context.options.progress,
    )
    llm, task, questions = open_llm(config), writing.task, writing.questions
    # Without a lock two concurrent runs would pay for the same answers.
    lock = workspace.cache / "llm" / hashlib.sha256(job.encode()).hexdigest()[:16]
    with (
        exclusive_lock(lock),
        workspace.exclusive(f"job {job}"),
        Ledger.open(workspace.database) as ledger,
    ):
        cost = estimate_cost(task, questions, llm.model, ledger, options)
        on_estimate(cost)
        if estimate_only:
            return {"estimate": asdict(cost)}
        outcome = ask_all(task, questions, llm, ledger, options)
    return {
        "estimate": asdict(cost),
        "state": outcome.state,
        "reason": outcome.reason,
        "failed": len(outcome.failures),
        "spent": outcome.spent,
        **writing.keep(outcome.answers, llm.model),
    }


def read_original(context: JobContext) -> Dataset:
    """The dataset without generated texts and values: none is ever the source of another one."""
    original = without_generated(context.dataset.catalogue.items)
    return replace(context.dataset, catalogue=Catalogue(original))


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


def put_generated(
    context: JobContext,
    rows: Sequence[Generated],
    replaced: tuple[Kind, str] | None = None,
    unanswered: Collection[str] = (),
) -> None:
    """Store what was written about items, which is used only after it passes its gate.

    Earlier rows of a replaced kind and name are deleted, but for those of unanswered items.
    """
    with context.workspace.open_store() as store:
        earlier = store.generated.rows(*replaced) if replaced else ()
        store.generated.put(rows, earlier, unanswered)


def select_valid(
    written: Iterable[tuple[KeyT, ValueT, str]],
) -> tuple[dict[KeyT, ValueT], dict[str, int]]:
    """Select those without a problem of (key, value, problem); of the same key the first one.

    Returns:
        key -> value; and problem -> number of those that have it.
    """
    kept, dropped = dict[KeyT, ValueT](), Counter[str]()
    for key, value, problem in written:
        if problem or key in kept:
            dropped[problem or "written twice"] += 1
        else:
            kept[key] = value
    return kept, dict(dropped)
