"""Ledger of LLM calls: every call is a row of the workspace database.

A row is written before its request is sent, with the maximum price; the actual price replaces it
when the answer arrives. So a killed process has spent no more than the sum of its rows, and an
answer is never paid for twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from serendip.data.store.base import Database
from serendip.data.store.config import DatabasePlace
from serendip.data.store.database import database_with_tables
from serendip.llm.config import Bill

SENT, OK, FAILED = "sent", "ok", "failed"
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

    def send(self, call: Call, price: float, budget: float) -> int | None:
        """Record a call before it is sent, if the budget of its job allows it.

        Args:
            call: the call.
            price: its maximum price.
            budget: budget of the job, for all its calls.

        Returns:
            number of the row; None if the budget does not suffice, and then nothing is written.
        """
        with self._database.write() as connection:
            if self._spent(connection, call.job) + price > budget:
                return None
            values = _build_row(call, SENT, price)
            (number,) = connection.execute(self._sql.INSERT, values).inserted_primary_key or (0,)
        return int(number)

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

    def answers(self, call: Call, data: Iterable[str]) -> dict[str, str]:
        """Stored answers of prompt and model, of any job: data key -> text."""
        return {row[0]: row[1] for row in self._select(self._sql.ANSWERED, call, data)}

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
