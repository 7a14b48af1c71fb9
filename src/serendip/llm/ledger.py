"""Ledger of LLM calls: every call is a row of the workspace database.

A row is written before its request is sent, with the maximum price; the actual price replaces it
when the answer arrives. So a killed process has spent no more than the sum of its rows, and an
answer is never paid for twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Self

from sqlalchemy import BigInteger, case, cast, func, select

from serendip.data.store.base import Database
from serendip.data.store.config import DatabasePlace
from serendip.data.store.database import create_database
from serendip.data.store.schema import LLM_CALLS as CALLS
from serendip.llm.client import Bill

SENT, OK, FAILED = "sent", "ok", "failed"

_KEYS_PER_QUERY = 500

_GROUP = CALLS.c.job, CALLS.c.prompt, CALLS.c.model
_SUMMARY = (
    select(
        *_GROUP,
        func.count().label("calls"),
        *(
            func.sum(case((CALLS.c.state == state, 1), else_=0)).label(name)
            for state, name in ((OK, "ok"), (FAILED, "failed"), (SENT, "unfinished"))
        ),
        cast(func.coalesce(func.sum(CALLS.c.sent), 0), BigInteger).label("tokens_sent"),
        cast(func.coalesce(func.sum(CALLS.c.answered), 0), BigInteger).label("tokens_answered"),
        func.coalesce(func.sum(CALLS.c.seconds), 0.0).label("seconds"),
        func.sum(CALLS.c.price).label("price"),
    )
    .group_by(*_GROUP)
    .order_by(func.min(CALLS.c.number))
)
_FAILURES = (
    select(CALLS.c.job, CALLS.c.failure, func.count().label("calls"))
    .where(CALLS.c.state == FAILED)
    .group_by(CALLS.c.job, CALLS.c.failure)
    .order_by(CALLS.c.job, func.count().desc(), CALLS.c.failure)
)


@dataclass(frozen=True, slots=True)
class Call:
    """Call of an LLM: a question of a job, which has the budget."""

    job: str
    prompt: str
    prompt_digest: str
    model: str
    data: str


class Ledger(AbstractContextManager["Ledger"]):
    """Calls of a workspace; a ``with`` block closes it; safe for concurrent threads and processes.

    Writers come one at a time, so budgets are exact.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, place: DatabasePlace) -> Self:
        """Open a database; file and tables are created if necessary.

        Raises:
            StorageError: the database cannot be opened.
        """
        return cls(create_database(place))

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def send(self, call: Call, price: float, budget: float) -> int | None:
        """Record a call with its maximum price before it is sent, if the budget of its job allows
        it.

        Returns the number of the row; None if the budget does not suffice, and then nothing is
        written.
        """
        values = {
            "state": SENT,
            "price": price,
            "sent_at": time.time(),
            "failure": "",
            "answer": "",
        }
        with self._database.write() as connection:
            if self._spent(connection, call.job) + price > budget:
                return None
            written = connection.execute(CALLS.insert(), {**asdict(call), **values})
            (number,) = written.inserted_primary_key or (0,)
        return int(number)

    def finish(
        self, number: int, answer: str, seconds: float, bill: Bill, failure: str = ""
    ) -> None:
        """Record the end of a call; one that has ended before does not change.

        The answer is validated, "" = none; the failure is "" after a success; of an unknown price
        the row keeps the maximum.
        """
        sent, answered, price = bill
        ending = {
            "state": FAILED if failure else OK,
            "failure": failure,
            "answer": answer,
            "seconds": seconds,
            "sent": sent,
            "answered": answered,
            "price": CALLS.c.price if price is None else price,
        }
        is_open = (CALLS.c.number == number) & (CALLS.c.state == SENT)
        with self._database.write() as connection:
            connection.execute(CALLS.update().where(is_open).values(ending))

    def answers(self, call: Call, data: Iterable[str]) -> dict[str, str]:
        """Stored answers of prompt and model, of any job: data key -> text."""
        keys, found = list(data), dict[str, str]()
        same = [
            CALLS.c[name] == getattr(call, name) for name in ("prompt", "prompt_digest", "model")
        ]
        answered = select(CALLS.c.data, CALLS.c.answer).where(CALLS.c.state == OK, *same)
        with self._database.read() as connection:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                part = CALLS.c.data.in_(keys[start : start + _KEYS_PER_QUERY])
                statement = answered.where(part).order_by(CALLS.c.number)
                found.update((row[0], row[1]) for row in connection.execute(statement))
        return found

    def spent(self, job: str) -> float:
        """Sum of the prices of a job; calls in progress have their maximum price."""
        with self._database.read() as connection:
            return self._spent(connection, job)

    def summary(self) -> list[dict[str, Any]]:
        """Calls by state, tokens, seconds and price, per job, prompt and model."""
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(_SUMMARY).mappings()]

    def failures(self) -> list[dict[str, Any]]:
        """Number of calls per job and failure, the most frequent first."""
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(_FAILURES).mappings()]

    @staticmethod
    def _spent(connection: Any, job: str) -> float:
        total = func.coalesce(func.sum(CALLS.c.price), 0.0)
        return float(connection.scalar(select(total).where(CALLS.c.job == job)))
