"""Asks the questions of an LLM job, many of them in tasks of an executor.

Each task has a part of the questions, an LLM of its own, and the ledger of the workspace. The
ledger records a call before it is sent, one writer at a time, so all tasks together stay within the
budget, and a task that begins again asks only what has no answer and is not under way. What a task
is given goes through the executor; answers are read from the ledger. The first task that ends
early, but for the budget, ends the others by a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from serendip.content.encoders.weights import verify_weights
from serendip.engine.workspace import WorkspaceLocation
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.llm.client import Llm
from serendip.llm.config import LlmConfig
from serendip.llm.ledger import Ledger
from serendip.llm.local import PACKAGE, LocalLlm
from serendip.llm.openai import EndpointLlm
from serendip.llm.prompts import data_key
from serendip.llm.runner import NO_BUDGET, Outcome, QuestionStates, RunOptions, ask_all
from serendip.llm.tasks import AnswerT, Task
from serendip.runtime.atomic_files import write_text
from serendip.runtime.progress import SilentProgress
from serendip.runtime.scratch import scratch_folder

Question = Mapping[str, Any]
"""Data of one question, by the names that the task's prompt uses."""

QUESTIONS_PER_TASK = 256
"""Fewer are not worth another process, and an LLM of its own, that asks them."""

_STOP = "stop"
"""File with the reason why all parts end."""


@dataclass(frozen=True, slots=True)
class QuestionPart(Generic[AnswerT]):
    """Questions of one task of an executor.

    Args:
        workspace: whose settings name the LLM and the ledger.
        task: prompt and schema of the answers.
        questions: to ask.
        options: of the run; its concurrency is the task's own.
    """

    workspace: WorkspaceLocation
    task: Task[AnswerT]
    questions: tuple[Question, ...]
    options: RunOptions

    def __str__(self) -> str:
        return f"{len(self.questions):,} questions to the LLM"


@dataclass(frozen=True, slots=True)
class PartEnding:
    """How a part ended; its answers are in the ledger.

    Args:
        failures: data key -> failure.
        reason: why it ended early; "" = it was not ended early.
    """

    failures: dict[str, str]
    reason: str


def ask_in_parts(
    task: Task[AnswerT],
    questions: Sequence[Question],
    llm: Llm,
    ledger: Ledger,
    options: RunOptions,
    context: JobContext,
) -> Outcome[AnswerT]:
    """Ask all questions without a stored answer, except those in a batch file.

    All tasks together send at most ``options.concurrency`` requests at once. A part that the budget
    stopped while others had reserved more than they then spent is continued in this process.

    Args:
        task: prompt and schema of the answers.
        questions: of the job.
        llm: of this process.
        ledger: of this process.
        options: of the run.
        context: workspace, and the executor of the tasks.

    Raises:
        ConfigError: the ledger is a file, and a task runs on another machine.
        SerendipError: a task was killed; the answers until then are in the ledger.
        StorageError: the ledger cannot be written; nothing is sent without a row.
    """
    states = QuestionStates.of(task, questions, llm.model, ledger, options.job)
    shared = context.options.shared
    if shared is None or _count_parts(len(states.unasked), options, context) <= 1:
        return ask_all(task, questions, llm, ledger, options)
    failures: dict[str, str] = {}
    reason, before = "", ledger.count_answered(options.job)

    def share() -> float:
        return (ledger.count_answered(options.job) - before) / len(states.unasked)

    def describe_spending() -> str:
        return f"{ledger.spent(options.job):.4g} of {options.budget:.4g} spent"

    with (
        scratch_folder(shared) as folder,
        options.progress.step(options.job, share, describe_spending),
    ):
        stop_file = folder / _STOP
        parts = _divide(list(states.unasked.values()), task, options, context, stop_file)
        for ending in context.options.executor.as_finished(ask_part, parts):
            failures |= ending.failures
            if not reason and ending.reason not in ("", NO_BUDGET):
                reason = ending.reason
                write_text(stop_file, reason)
    if not reason:
        left = [data for data in questions if data_key(data) not in failures]
        rest = ask_all(task, left, llm, ledger, options)
        failures, reason = failures | rest.failures, rest.reason
    states = QuestionStates.of(task, questions, llm.model, ledger, options.job)
    return Outcome.of(states, questions, failures, reason, ledger.spent(options.job))


def _count_parts(questions: int, options: RunOptions, context: JobContext) -> int:
    """Number of parts: at most one per worker and per request that may be sent at once."""
    most = min(context.options.executor.workers, options.concurrency)
    return min(most, questions // QUESTIONS_PER_TASK)


def _divide(
    questions: Sequence[Question],
    task: Task[AnswerT],
    options: RunOptions,
    context: JobContext,
    stop_file: Path,
) -> list[QuestionPart[AnswerT]]:
    """Parts of the questions, which end when the file exists."""
    count = _count_parts(len(questions), options, context)
    silent = replace(options, progress=SilentProgress(), stop_file=stop_file)
    location = WorkspaceLocation.of(context.workspace)
    return [
        QuestionPart(
            location,
            task,
            tuple(questions[number::count]),
            replace(silent, concurrency=len(range(number, options.concurrency, count))),
        )
        for number in range(count)
    ]


def ask_part(part: QuestionPart[AnswerT]) -> PartEnding:
    """Ask the questions of a task that have no answer in the ledger.

    Raises:
        ConfigError: the ledger is a file of another machine, or the LLM cannot be used here.
        StorageError: the ledger cannot be written.
    """
    workspace = part.workspace.open()
    with (
        open_llm(workspace.settings.llm) as llm,
        closing(Ledger.open(workspace.database)) as ledger,
    ):
        outcome = ask_all(part.task, part.questions, llm, ledger, part.options)
    return PartEnding(outcome.failures, outcome.reason)


@contextmanager
def open_llm(config: LlmConfig) -> Iterator[Llm]:
    """Open the configured LLM; a local one is stopped at the end.

    Raises:
        ArtefactError: the weights of the local LLM differ from ``models.lock``.
        ConfigError: no LLM is configured, or a setting of the endpoint is missing.
        ExtraMissing: a required package is not installed.
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
