"""Asks an LLM about many things: known answers first, within a budget, through all failures.

A question is sent again where the server failed, and once more with what is wrong where its answer
does not fit; every sending is a row of the ledger before it leaves. Where the server says that it
is asked too often, all questions wait. A quota that is used up, a wrong key or a spent budget end
the run: what was not answered is told, and another run goes on.

Of many questions: which are answered, which are out in a file, and which are left to ask.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any, Generic

from serendip.errors import ConfigError
from serendip.llm.client import (
    FINAL,
    MENDABLE,
    PASSING,
    Llm,
    LlmFailure,
    LlmRequest,
)
from serendip.llm.config import Prices
from serendip.llm.ledger import Call, Ending, Ledger
from serendip.llm.prompts import data_key
from serendip.llm.tasks import AnswerT, Task, WrongAnswer
from serendip.runtime.progress import Progress, SilentProgress


@dataclass(frozen=True, slots=True)
class QuestionStates(Generic[AnswerT]):
    """Different questions, each in one of three places, by the key of its data.

    Args:
        call: what is asked, but for the data.
        answers: those in the ledger that still fit the schema.
        batched: data key -> (row, the most that it can cost) of what is out in a file.
        waiting: data of what is out in a file.
        left: data of everything else.
    """

    call: Call
    answers: dict[str, AnswerT]
    batched: dict[str, tuple[int, float]]
    waiting: dict[str, Mapping[str, Any]]
    left: dict[str, Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        task: Task[AnswerT],
        questions: Sequence[Mapping[str, Any]],
        model: str,
        ledger: Ledger,
        job: str,
    ) -> QuestionStates[AnswerT]:
        """As the ledger has it.

        Raises:
            StorageError: the ledger cannot be read.
        """
        call = Call(job, task.prompt.name, task.prompt.digest, model, "")
        different = {data_key(data): data for data in questions}
        answers = {}
        for name, text in ledger.answers(call, different).items():
            try:
                answers[name] = task.read(text, different[name])
            except WrongAnswer:
                continue
        open_ones = [name for name in different if name not in answers]
        batched = ledger.batched(call, open_ones)
        return cls(
            call,
            answers,
            batched,
            {name: different[name] for name in open_ones if name in batched},
            {name: different[name] for name in open_ones if name not in batched},
        )


NO_BUDGET = "the budget is spent"
_LONGEST_WAIT_S = 60.0
_QUOTED = 500
_MOST_REJECTED = 10
"""Rejected questions in a row after which it is not the questions."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How far a run may go.

    Args:
        job: its name; a run of the same name goes on where the last one ended.
        budget: of all runs of the job, in the currency of the prices; infinity = no bound.
        prices: of tokens.
        concurrency: requests under way at once.
        attempts: times that a question is sent at most.
        max_tokens: length of an answer at most.
        first_wait_s: before the second attempt, doubled before each further one; what the server
            asks for goes first.
        progress: follows the questions.

    Raises:
        ConfigError: the budget is no number of at least 0.
    """

    job: str
    budget: float = math.inf
    prices: Prices = field(default_factory=Prices)
    concurrency: int = 4
    attempts: int = 4
    max_tokens: int = 300
    first_wait_s: float = 1.0
    progress: Progress = field(default_factory=SilentProgress)

    def __post_init__(self) -> None:
        if not self.budget >= 0:
            raise ConfigError(f"a budget of {self.budget}.", "Name a number of 0 or more.")


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Before a run.

    Args:
        questions: different ones.
        known: of these, answered before.
        batched: of these, out in a file.
        price: that the others will cost, about.
        most: that they can cost if each is sent once.
    """

    questions: int
    known: int
    batched: int
    price: float
    most: float


@dataclass(frozen=True, slots=True)
class Outcome(Generic[AnswerT]):
    """After a run.

    Args:
        answers: per question, in order; None = there is none.
        failures: data key -> why there is none, of questions that were sent.
        reason: why the run ended early; "" = it did not.
        spent: by all runs of the job.
        batched: different questions that are out in a file, and were not asked.
    """

    answers: list[AnswerT | None]
    failures: dict[str, str]
    reason: str
    spent: float
    batched: int = 0

    @property
    def state(self) -> str:
        """``complete`` or ``partial``."""
        return "partial" if None in self.answers else "complete"


def estimate(
    task: Task[AnswerT],
    questions: Sequence[Mapping[str, Any]],
    model: str,
    ledger: Ledger,
    options: RunOptions,
) -> CostEstimate:
    """What asking a model of that name would cost."""
    pending = QuestionStates.of(task, questions, model, ledger, options.job)
    requests = [task.request(data, options.max_tokens) for data in pending.left.values()]
    prices = options.prices
    expected, most = (sum(map(price, requests)) for price in (prices.expected, prices.most))
    counts = len(pending.answers), len(pending.batched)
    return CostEstimate(sum(counts) + len(requests), *counts, float(expected), float(most))


def ask_all(
    task: Task[AnswerT],
    questions: Sequence[Mapping[str, Any]],
    llm: Llm,
    ledger: Ledger,
    options: RunOptions,
) -> Outcome[AnswerT]:
    """Ask about everything that was not answered before.

    Raises:
        StorageError: the ledger takes no rows; nothing is sent without one.
    """
    pending = QuestionStates.of(task, questions, llm.model, ledger, options.job)
    answers, left = pending.answers, pending.left
    run = _Run(task, pending.call, ledger, options)
    failures: dict[str, str] = {}
    with ThreadPoolExecutor(options.concurrency) as pool:
        try:
            waiting = {pool.submit(run.ask, llm, data): name for name, data in left.items()}
            done = as_completed(waiting)
            for future in options.progress.track(done, options.job, len(left), run.spend):
                found, name = future.result(), waiting[future]
                if isinstance(found, LlmFailure):
                    failures[name] = str(found)
                elif found is not None:
                    answers[name] = found
        except BaseException:
            run.stop("interrupted")  # Or everything that waits would still be sent.
            raise
    found_all = [answers.get(data_key(data)) for data in questions]
    spent = ledger.spent(options.job)
    return Outcome(found_all, failures, run.reason, spent, len(pending.batched))


class _Run(Generic[AnswerT]):
    """State that the threads of a run share."""

    def __init__(
        self, task: Task[AnswerT], call: Call, ledger: Ledger, options: RunOptions
    ) -> None:
        self.task, self.call, self.ledger, self.options = task, call, ledger, options
        self.reason = ""
        self._stopped, self._changed = threading.Event(), threading.Condition(threading.RLock())
        self._under_way, self._rejected, self._resumes_at = 0, 0, 0.0
        self._spent = ledger.spent(options.job)

    def spend(self) -> str:
        """What the job has spent, bounds of what is under way included, and its budget."""
        return f"{self._spent:.4g} of {self.options.budget:.4g} spent"

    def stop(self, reason: str) -> None:
        """Send nothing more; the first reason counts."""
        with self._changed:
            self.reason = self.reason or reason
            self._stopped.set()
            self._changed.notify_all()

    def ask(self, llm: Llm, data: Mapping[str, Any]) -> AnswerT | LlmFailure | None:
        """The answer, or why there is none; None = it was not sent before the run ended."""
        request = self.task.request(data, self.options.max_tokens)
        failure: LlmFailure | None = None
        for attempt in range(self.options.attempts):
            found = self._attempt(llm, request, data, attempt)
            if not isinstance(found, LlmFailure):
                return found or failure
            failure = found
            if found.kind in PASSING:
                self._wait(found, attempt)
            elif found.kind in MENDABLE and not request.earlier:
                request = replace(request, earlier=(_complaint(found),))
            else:
                break
        return failure

    def _attempt(
        self, llm: Llm, request: LlmRequest, data: Mapping[str, Any], attempt: int
    ) -> AnswerT | LlmFailure | None:
        """One sending, written down before and after; None = there is none any more."""
        most = self.options.prices.most(request)
        number = self._reserve(replace(self.call, data=data_key(data)), most)
        if number is None:
            return None
        start, said, found = time.monotonic(), None, None
        failure: LlmFailure | None = None
        try:
            said = llm.answer(request)
            found = self.task.read(said.text, data)
        except WrongAnswer as error:
            failure = LlmFailure("invalid", str(error), answer=said)
        except LlmFailure as error:
            failure, said = error, error.answer
        finally:
            text, seconds = found.model_dump_json() if found else "", time.monotonic() - start
            bill, wrong = self.options.prices.bill(said, failure, most), str(failure or "")
            self._pause(failure, attempt)
            if failure or found:
                self.ledger.finish(Ending(number, text, seconds, bill, wrong))
            self._ended(failure, most - (most if bill[2] is None else bill[2]))
        return failure or found

    def _reserve(self, call: Call, most: float) -> int | None:
        """Number of a new row, when nothing is paused any more.

        While others are under way, their bills may leave enough for it.
        """
        with self._changed:
            while not self._stopped.is_set():
                pause = self._resumes_at - time.monotonic()
                if pause > 0:
                    self._changed.wait(pause)
                    continue
                number = self.ledger.send(call, most, self.options.budget)
                if number is not None:
                    self._under_way += 1
                    self._spent += most
                    return number
                if not self._under_way:
                    self.stop(NO_BUDGET)
                else:
                    self._changed.wait()
        return None

    def _ended(self, failure: LlmFailure | None, unspent: float) -> None:
        """Count what is under way, and end the run where no other question would do better."""
        with self._changed:
            self._under_way -= 1
            self._spent -= unspent
            is_rejected = failure is not None and failure.kind == "rejected"
            self._rejected = self._rejected + 1 if is_rejected else 0
            if failure and (failure.kind in FINAL or self._rejected >= _MOST_REJECTED):
                self.stop(str(failure))
            self._changed.notify_all()

    def _pause(self, failure: LlmFailure | None, attempt: int) -> None:
        """Let all threads wait where one of them was told that there are too many questions."""
        if failure is not None and _is_for_all(failure):
            wait = wait_before(failure, attempt, self.options.first_wait_s)
            with self._changed:
                self._resumes_at = max(self._resumes_at, time.monotonic() + wait)

    def _wait(self, failure: LlmFailure, attempt: int) -> None:
        """Until it may be sent again, or the run ends; not after the last attempt."""
        if attempt + 1 < self.options.attempts and not _is_for_all(failure):
            self._stopped.wait(wait_before(failure, attempt, self.options.first_wait_s))


def _is_for_all(failure: LlmFailure) -> bool:
    """Whether the server does not want to be asked anything for a while."""
    return failure.kind == "rate" or failure.retry_after is not None


def wait_before(failure: LlmFailure, attempt: int, first: float) -> float:
    """Seconds: as the server wants it, else doubled with every attempt; a minute at most."""
    wait = first * 2**attempt if failure.retry_after is None else failure.retry_after
    return min(wait, _LONGEST_WAIT_S)


def _complaint(failure: LlmFailure) -> tuple[str, str]:
    """The beginning of the answer, which servers do not take empty, and what is wrong with it."""
    said = failure.answer.text[:_QUOTED] if failure.answer else ""
    wrong = (
        f"This is not what was asked for ({failure.message}). Answer with the JSON object alone."
    )
    return said or "(nothing)", wrong
