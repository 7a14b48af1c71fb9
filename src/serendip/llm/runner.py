"""Runs of LLM questions: stored answers first, concurrent requests, retries and a budget.

A question is sent again if the server failed, and once more with the error message if its answer is
invalid; every attempt is a row of the ledger before it is sent. If the server limits the rate, all
questions wait. A used-up quota, a wrong key or a spent budget ends the run; unanswered questions
are reported, and the next run continues with them.

Several runs may ask at once; together they stay within the budget of their job.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    Prices,
)
from serendip.llm.ledger import Call, Ledger
from serendip.llm.tasks import AnswerT, Task, WrongAnswer, data_key
from serendip.runtime.progress import Progress, SilentProgress

NO_BUDGET = "the budget is spent"
_MAX_WAIT_S, _LOOKS_EVERY_S = 60.0, 0.05
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
    """Ask all questions without a stored answer, and close the connections of the LLM.

    Raises:
        StorageError: the ledger cannot be written.
    """
    call = _build_call(task, llm.model, options)
    answers, unasked = _look_up(task, questions, call, ledger)
    run = _Run(task, call, llm, ledger, options, answers)
    asyncio.run(run.ask_each(unasked))
    in_order = [answers.get(data_key(data)) for data in questions]
    return Outcome(in_order, run.failures, run.reason, ledger.spent(options.job))


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


@dataclass(slots=True, eq=False)
class _Run(Generic[AnswerT]):
    """Asks in one thread, so that whatever is between two ``await`` happens at once."""

    task: Task[AnswerT]
    call: Call
    llm: Llm
    ledger: Ledger
    options: RunOptions
    answers: dict[str, AnswerT]
    failures: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    in_progress: int = 0
    rejected: int = 0
    spent: float = 0.0
    resumes_at: float = 0.0

    async def ask_each(self, unasked: Mapping[str, Mapping[str, Any]]) -> None:
        options, self.spent = self.options, self.ledger.spent(self.options.job)
        pending = iter(unasked.items())
        show = options.progress.show(options.job, len(unasked), self._describe_spending)
        with show as advance:
            try:
                workers = [self._work(pending, advance) for _ in range(options.concurrency)]
                await asyncio.gather(*workers)
            finally:
                await self.llm.close()

    def _describe_spending(self) -> str:
        return f"{self.spent:.4g} of {self.options.budget:.4g} spent"

    async def _work(
        self, pending: Iterator[tuple[str, Mapping[str, Any]]], advance: Callable[[], None]
    ) -> None:
        while not self.reason and (question := next(pending, None)):
            key, data = question
            result = await self._ask(data)
            if isinstance(result, LlmFailure):
                self.failures[key] = str(result)
            elif result is not None:
                self.answers[key] = result
            advance()

    async def _ask(self, data: Mapping[str, Any]) -> AnswerT | LlmFailure | None:
        request = self.task.request(data, self.options.max_tokens)
        failure: LlmFailure | None = None
        for attempt in range(self.options.attempts):
            result = await self._attempt(request, data)
            if not isinstance(result, LlmFailure):
                return result or failure
            failure = result
            if result.kind in PASSING:
                wait = compute_wait(result, attempt, self.options.first_wait_s)
                if result.kind == "rate" or result.retry_after is not None:
                    self.resumes_at = max(self.resumes_at, time.monotonic() + wait)  # for all
                elif attempt + 1 < self.options.attempts:
                    await asyncio.sleep(wait)
            elif result.kind in MENDABLE and not request.earlier:
                request = replace(request, earlier=(_build_correction(result),))
            else:
                break
        return failure

    async def _attempt(
        self, request: LlmRequest, data: Mapping[str, Any]
    ) -> AnswerT | LlmFailure | None:
        max_price = self.options.prices.most(request)
        number = await self._reserve(replace(self.call, data=data_key(data)), max_price)
        if number is None:
            return None
        start, raw, answer = time.monotonic(), None, None
        failure: LlmFailure | None = None
        try:
            raw = await self.llm.answer(request)
            answer = self.task.read(raw.text, data)
        except WrongAnswer as error:
            failure = LlmFailure("invalid", str(error), answer=raw)
        except LlmFailure as error:
            failure, raw = error, error.answer
        self.in_progress -= 1
        text, seconds = answer.model_dump_json() if answer else "", time.monotonic() - start
        bill = self.options.prices.bill(raw, failure, max_price)
        self.ledger.finish(number, text, seconds, bill, str(failure or ""))
        self.spent -= max_price - (max_price if bill[2] is None else bill[2])
        is_rejected = failure is not None and failure.kind == "rejected"
        self.rejected = self.rejected + 1 if is_rejected else 0
        if failure and (failure.kind in FINAL or self.rejected >= _MAX_REJECTED):
            self.reason = self.reason or str(failure)
        return failure or answer

    async def _reserve(self, call: Call, max_price: float) -> int | None:
        """Record a call as soon as no pause is on, and return its row; None = the run has ended.

        If the budget does not suffice, wait for calls in progress, which may cost less than their
        maximum price.
        """
        while not self.reason:
            if (pause := self.resumes_at - time.monotonic()) > 0:
                await asyncio.sleep(pause)
                continue
            number = self.ledger.send(call, max_price, self.options.budget)
            if number is not None:
                self.in_progress += 1
                self.spent += max_price
                return number
            if not self.in_progress:
                self.reason = NO_BUDGET
            await asyncio.sleep(_LOOKS_EVERY_S)
        return None


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
