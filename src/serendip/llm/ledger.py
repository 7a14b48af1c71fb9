"""Ledger of LLM calls: every call is a row of the workspace database.

A row is written before its request is sent, with the maximum price; the actual price replaces it
when the answer arrives. So a killed process has spent no more than the sum of its rows, and an
answer is never paid for twice. Questions in a batch file have rows, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from serendip.data.store.base import Database
from serendip.data.store.config import DatabasePlace
from serendip.data.store.database import database_with_tables
from serendip.llm.config import Bill

SENT, BATCHED, OK, FAILED = "sent", "batched", "ok", "failed"
"""States of a call."""

_KEYS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class Call:
    """Call of an LLM: a question of a job.

    Args:
        job: name of the job, which has the budget.
        prompt: name of the prompt, with its version.
        prompt_digest: hash of the prompt's text.
        model: name of the model.
        data: key of the question's data.
    """

    job: str
    prompt: str
    prompt_digest: str
    model: str
    data: str


@dataclass(frozen=True, slots=True)
class Ending:
    """End of a call.

    Args:
        number: number of the call's row.
        answer: validated answer; "" = none.
        seconds: duration; None = unknown.
        bill: tokens and price; if unknown, the row keeps the maximum price.
        failure: kind and message of the failure; "" = success.
    """

    number: int
    answer: str
    seconds: float | None
    bill: Bill
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Earlier calls of a question, because of which it is not sent now.

    Args:
        answers: stored ones, the oldest first.
        left_s: seconds for which the last one may be under way; 0 = none is.
    """

    answers: tuple[str, ...]
    left_s: float


class Ledger:
    """Calls of a workspace; safe for concurrent threads and processes."""

    def __init__(self, database: Database) -> None:
        from serendip.llm import ledger_table

        self._database, self._sql = database, ledger_table

    @classmethod
    def open(cls, place: DatabasePlace) -> Self:
        """Open a database; file and table are created if necessary.

        Raises:
            StorageError: the database cannot be opened.
        """
        from serendip.llm.ledger_table import METADATA

        return cls(database_with_tables(place, METADATA))

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def send(
        self, call: Call, price: float, budget: float, timeout_s: float = 0.0, known: int = 0
    ) -> int | Earlier | None:
        """Record a call before it is sent, if nobody has asked and the budget of its job allows it.

        Args:
            call: the call.
            price: its maximum price.
            budget: budget of the job, for all its calls.
            timeout_s: after which a call without an end is one of a process that was killed.
            known: stored answers that the caller knows, and cannot use.

        Returns:
            number of the row; the earlier calls if one has an answer or is under way, or None if
            the budget does not suffice, and then nothing is written.
        """
        with self._database.write() as connection:
            earlier = self._find_earlier(connection, call, timeout_s)
            if len(earlier.answers) > known or earlier.left_s > 0:
                return earlier
            spent = self._spent(connection, call.job)
            if spent + price > budget:
                return None
            values = _build_row(call, SENT, price)
            (number,) = connection.execute(self._sql.INSERT, values).inserted_primary_key or (0,)
        return int(number)

    def _find_earlier(self, connection: Any, call: Call, timeout_s: float) -> Earlier:
        """Calls of the same question, of any job, that have an answer or no end."""
        rows = connection.execute(self._sql.EARLIER, _to_columns(call)).all()
        answers = tuple(answer for state, answer, _ in rows if state == OK)
        since = max((sent_at for state, _, sent_at in rows if state == SENT), default=0.0)
        return Earlier(answers, max(0.0, since + timeout_s - time.time()))

    def batch(self, call: Call, prices: Mapping[str, float], budget: float) -> bool:
        """Record the calls of a batch file, if the budget of the job allows all of them.

        Args:
            call: the calls, without data.
            prices: data key -> maximum price.
            budget: budget of the job, for all its calls.

        Returns:
            True if recorded; False if the budget does not suffice, and then nothing is written.
        """
        with self._database.write() as connection:
            spent = self._spent(connection, call.job)
            for price in prices.values():  # In the order of the caller's sum: the same rounding.
                spent += price
            if spent > budget:
                return False
            rows = [
                _build_row(replace(call, data=data), BATCHED, price)
                for data, price in prices.items()
            ]
            connection.execute(self._sql.INSERT, rows)
        return True

    def finish(self, *endings: Ending) -> None:
        """Record the ends of calls, all or none; calls that have ended before do not change."""
        rows = [
            {
                "row": ending.number,
                "new_state": FAILED if ending.failure else OK,
                "new_answer": ending.answer,
                "duration": ending.seconds,
                "tokens_sent": ending.bill[0],
                "tokens_answered": ending.bill[1],
                "cost": ending.bill[2],
                "new_failure": ending.failure,
            }
            for ending in endings
        ]
        if rows:
            with self._database.write() as connection:
                connection.execute(self._sql.FINISH, rows)

    def forget_batches(self, job: str) -> int:
        """Give up all calls in batch files, at their maximum price; return their number."""
        with self._database.write() as connection:
            return int(connection.execute(self._sql.FORGET, {"of_job": job}).rowcount)

    def answers(self, call: Call, data: Iterable[str]) -> dict[str, str]:
        """Stored answers of prompt and model, of any job: data key -> text."""
        return {row[0]: row[1] for row in self._select(self._sql.ANSWERED, call, data)}

    def batched(self, call: Call, data: Iterable[str]) -> dict[str, tuple[int, float]]:
        """Calls in batch files, of any job: data key -> (row, maximum price)."""
        return {row[0]: (row[1], row[2]) for row in self._select(self._sql.BATCHED, call, data)}

    def spent(self, job: str) -> float:
        """Sum of the prices of a job; calls in progress have their maximum price."""
        with self._database.read() as connection:
            return self._spent(connection, job)

    def summary(self) -> list[dict[str, Any]]:
        """Calls by state, tokens, seconds and price, per job, prompt and model."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql.SUMMARY).mappings().all()
        return [dict(row) for row in rows]

    def failures(self) -> list[dict[str, Any]]:
        """Number of calls per job and failure, the most frequent first."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql.FAILURES).mappings().all()
        return [dict(row) for row in rows]

    def _select(self, statement: Any, call: Call, data: Iterable[str]) -> Iterator[Any]:
        """Rows of prompt and model with these data keys, the oldest first."""
        keys = list(data)
        with self._database.read() as connection:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                values = {**_to_columns(call), "keys": keys[start : start + _KEYS_PER_QUERY]}
                yield from connection.execute(statement, values)

    def _spent(self, connection: Any, job: str) -> float:
        return float(connection.scalar(self._sql.SPENT, {"job": job}))


def _build_row(call: Call, state: str, price: float) -> dict[str, Any]:
    """Row of a new call."""
    return {
        **_to_columns(call),
        "state": state,
        "price": price,
        "sent_at": time.time(),
        "failure": "",
        "answer": "",
    }


def _to_columns(call: Call) -> Mapping[str, str]:
    """Columns that identify a call."""
    return {
        "job": call.job,
        "prompt": call.prompt,
        "prompt_digest": call.prompt_digest,
        "model": call.model,
        "data": call.data,
    }
