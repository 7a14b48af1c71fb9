"""Runs of LLM questions: stored answers first, concurrent requests, retries and a budget.

A question is sent again if the server failed, and once more with the error message if its answer is
invalid; every attempt is a row of the ledger before it is sent. If the server limits the rate, all
questions wait. A used-up quota, a wrong key or a spent budget ends the run; unanswered questions
are reported, and the next run continues with them.

Several runs may ask at once; together they stay within the budget of their job.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
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
from serendip.llm.ledger import Call, Ledger
from serendip.llm.prompts import data_key
from serendip.llm.tasks import AnswerT, Task, WrongAnswer
from serendip.runtime.progress import Progress, SilentProgress

NO_BUDGET = "the budget is spent"
_MAX_WAIT_S = 60.0
_QUOTED_CHARS = 500
"""Length of the invalid answer that is repeated to the model."""

_MAX_REJECTED = 10
"""Consecutive rejections after which the run ends: the fault is not in the questions."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Name, budget and limits of a run.

    Args:
        job: name of the job; a run of the same name continues the last one.
        budget: of all runs of the job, in the currency of the prices; infinity = unlimited.
        first_wait_s: wait before the second attempt, doubled before each further one; a wait that
            the server demands takes precedence.

    Raises:
        ConfigError: the budget is not a number >= 0.
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
            raise ConfigError(
                f"the budget is {self.budget}, not a number >= 0.", "Give a budget of 0 or more."
            )


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Estimate of a run's cost.

    Args:
        known: questions with a stored answer.
        price: expected price of the other questions.
        most: maximum price of the other questions, with one attempt each.
    """

    questions: int
    known: int
    price: float
    most: float


@dataclass(frozen=True, slots=True)
class Outcome(Generic[AnswerT]):
    """Result of a run.

    Args:
        answers: answer of each question, in order; None = no answer.
        failures: data key -> failure, of questions that were sent without success.
        reason: why the run ended early; "" = it was not ended early.
        spent: price of all runs of the job.
    """

    answers: list[AnswerT | None]
    failures: dict[str, str]
    reason: str
    spent: float

    @property
    def state(self) -> str:
        """``complete`` if all questions have an answer, else ``partial``."""
        return "partial" if None in self.answers else "complete"


def estimate_cost(
    task: Task[AnswerT],
    questions: Sequence[Mapping[str, Any]],
    model: str,
    ledger: Ledger,
    options: RunOptions,
) -> CostEstimate:
    """Estimate the cost of a run with a model of this name; sends nothing."""
    answers, unasked = _look_up(task, questions, _build_call(task, model, options), ledger)
    requests = [task.request(data, options.max_tokens) for data in unasked.values()]
    prices = options.prices
    expected, most = (sum(map(price, requests)) for price in (prices.expected, prices.most))
    count = len(answers) + len(requests)
    return CostEstimate(count, len(answers), float(expected), float(most))


def ask_all(
    task: Task[AnswerT],
    questions: Sequence[Mapping[str, Any]],
    llm: Llm,
    ledger: Ledger,
    options: RunOptions,
) -> Outcome[AnswerT]:
    """Ask all questions without a stored answer; StorageError if the ledger cannot be written."""
    call = _build_call(task, llm.model, options)
    answers, unasked = _look_up(task, questions, call, ledger)
    run = _Run(task, call, ledger, options)
    failures: dict[str, str] = {}
    with ThreadPoolExecutor(options.concurrency) as pool:
        try:
            futures = {pool.submit(run.ask, llm, data): key for key, data in unasked.items()}
            done = as_completed(futures)
            for future in options.progress.track(
                done, options.job, len(unasked), run.describe_spending
            ):
                result, key = future.result(), futures[future]
                if isinstance(result, LlmFailure):
                    failures[key] = str(result)
                elif result is not None:
                    answers[key] = result
        except BaseException:
            run.stop("interrupted")  # Otherwise all queued questions would still be sent.
            raise
    in_order = [answers.get(data_key(data)) for data in questions]
    return Outcome(in_order, failures, run.reason, ledger.spent(options.job))


def _build_call(task: Task[AnswerT], model: str, options: RunOptions) -> Call:
    return Call(options.job, task.prompt.name, task.prompt.digest, model, "")


def _look_up(
    task: Task[AnswerT], questions: Sequence[Mapping[str, Any]], call: Call, ledger: Ledger
) -> tuple[dict[str, AnswerT], dict[str, Mapping[str, Any]]]:
    """Stored answers that are valid by the current schema, and data of the other questions."""
    distinct = {data_key(data): data for data in questions}
    answers = {}
    for key, text in ledger.answers(call, distinct).items():
        with suppress(WrongAnswer):
            answers[key] = task.read(text, distinct[key])
    return answers, {key: data for key, data in distinct.items() if key not in answers}


class _Run(Generic[AnswerT]):
    def __init__(
        self, task: Task[AnswerT], call: Call, ledger: Ledger, options: RunOptions
    ) -> None:
        self.task, self.call, self.ledger, self.options = task, call, ledger, options
        self.reason = ""
        self._stopped, self._changed = threading.Event(), threading.Condition(threading.RLock())
        self._in_progress, self._rejected, self._resumes_at = 0, 0, 0.0
        self._spent = ledger.spent(options.job)

    def describe_spending(self) -> str:
        # Calls in progress have their maximum price.
        return f"{self._spent:.4g} of {self.options.budget:.4g} spent"

    def stop(self, reason: str) -> None:
        with self._changed:
            self.reason = self.reason or reason
            self._stopped.set()
            self._changed.notify_all()

    def ask(self, llm: Llm, data: Mapping[str, Any]) -> AnswerT | LlmFailure | None:
        request = self.task.request(data, self.options.max_tokens)
        failure: LlmFailure | None = None
        for attempt in range(self.options.attempts):
            result = self._attempt(llm, request, data, attempt)
            if not isinstance(result, LlmFailure):
                return result or failure
            failure = result
            if result.kind in PASSING:
                self._wait(result, attempt)
            elif result.kind in MENDABLE and not request.earlier:
                request = replace(request, earlier=(_build_correction(result),))
            else:
                break
        return failure

    def _attempt(
        self, llm: Llm, request: LlmRequest, data: Mapping[str, Any], attempt: int
    ) -> AnswerT | LlmFailure | None:
        max_price = self.options.prices.most(request)
        number = self._reserve(replace(self.call, data=data_key(data)), max_price)
        if number is None:
            return None
        start, raw, answer = time.monotonic(), None, None
        failure: LlmFailure | None = None
        try:
            raw = llm.answer(request)
            answer = self.task.read(raw.text, data)
        except WrongAnswer as error:
            failure = LlmFailure("invalid", str(error), answer=raw)
        except LlmFailure as error:
            failure, raw = error, error.answer
        finally:
            text, seconds = answer.model_dump_json() if answer else "", time.monotonic() - start
            bill, message = self.options.prices.bill(raw, failure, max_price), str(failure or "")
            self._pause(failure, attempt)
            if failure or answer:
                self.ledger.finish(number, text, seconds, bill, message)
            self._release(failure, max_price - (max_price if bill[2] is None else bill[2]))
        return failure or answer

    def _reserve(self, call: Call, max_price: float) -> int | None:
        """Record a call as soon as no pause is on, and return its row; None = the run has ended.

        If the budget does not suffice, wait for calls in progress, which may cost less than their
        maximum price.
        """
        with self._changed:
            while not self._stopped.is_set():
                pause = self._resumes_at - time.monotonic()
                if pause > 0:
                    self._changed.wait(pause)
                    continue
                number = self.ledger.send(call, max_price, self.options.budget)
                if number is not None:
                    self._in_progress += 1
                    self._spent += max_price
                    return number
                if not self._in_progress:
                    self.stop(NO_BUDGET)
                else:
                    self._changed.wait()
        return None

    def _release(self, failure: LlmFailure | None, unspent: float) -> None:
        with self._changed:
            self._in_progress -= 1
            self._spent -= unspent
            is_rejected = failure is not None and failure.kind == "rejected"
            self._rejected = self._rejected + 1 if is_rejected else 0
            if failure and (failure.kind in FINAL or self._rejected >= _MAX_REJECTED):
                self.stop(str(failure))
            self._changed.notify_all()

    def _pause(self, failure: LlmFailure | None, attempt: int) -> None:
        if failure is not None and _pauses_all(failure):
            wait = compute_wait(failure, attempt, self.options.first_wait_s)
            with self._changed:
                self._resumes_at = max(self._resumes_at, time.monotonic() + wait)

    def _wait(self, failure: LlmFailure, attempt: int) -> None:
        if attempt + 1 < self.options.attempts and not _pauses_all(failure):
            self._stopped.wait(compute_wait(failure, attempt, self.options.first_wait_s))


def _pauses_all(failure: LlmFailure) -> bool:
    return failure.kind == "rate" or failure.retry_after is not None


def compute_wait(failure: LlmFailure, attempt: int, first: float) -> float:
    """Seconds before a retry: those that the server demands, or exponential back-off; <= 60."""
    wait = first * 2**attempt if failure.retry_after is None else failure.retry_after
    return min(wait, _MAX_WAIT_S)


def _build_correction(failure: LlmFailure) -> tuple[str, str]:
    answer = failure.answer.text[:_QUOTED_CHARS] if failure.answer else ""
    message = (
        f"This is not what was asked for ({failure.message}). Answer with the JSON object alone."
    )
    return answer or "(nothing)", message  # Servers refuse empty messages.
