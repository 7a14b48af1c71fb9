"""Ledger of LLM calls: every call is a row of the workspace database.

A row is written before its request is sent, with the maximum price; the actual price replaces it
when the answer arrives. So a process that is killed has spent no more than its rows say, and an
answer that was paid for is never requested again. Questions in a batch file have rows too, until
their answers are read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from serendip.data.store.database import Database
from serendip.llm.config import Bill

SENT, BATCHED, OK, FAILED = "sent", "batched", "ok", "failed"
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked.

    Args:
        job: what it belongs to; a budget is that of a job.
        prompt: name with version.
        prompt_digest: of its letters.
        model: who answers.
        data: key of what is asked about.
    """

    job: str
    prompt: str
    prompt_digest: str
    model: str
    data: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended.

    Args:
        number: of the row.
        answer: what came back, checked; "" = nothing that can be used.
        seconds: that it took; None = nobody knows.
        bill: what it cost; where nobody knows, the price stays the most that it can be.
        failure: what went wrong; "" = nothing.
    """

    number: int
    answer: str
    seconds: float | None
    bill: Bill
    failure: str = ""


class Ledger:
    """Calls of one workspace; may be used by many threads and processes."""

    def __init__(self, database: Database) -> None:
        from serendip.llm import ledger_table

        self._database, self._sql = database, ledger_table

    @classmethod
    def open(cls, url_or_path: str | Path) -> Self:
        """Open a database, creating file and table where they are missing.

        Raises:
            StorageError: the database cannot be opened.
        """
        from serendip.llm.ledger_table import METADATA

        return cls(Database.with_tables(url_or_path, METADATA))

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def send(self, call: Call, price: float, budget: float) -> int | None:
        """Write down a call that is about to be sent, if the job can pay for it.

        Args:
            call: what is asked.
            price: the most that it can cost.
            budget: of the job, all its calls together.

        Returns:
            number of the row; None where it might cost more than is left, and nothing was written.
        """
        with self._database.write() as connection:
            spent = self._spent(connection, call.job)
            if spent + price > budget:
                return None
            values = _new_row(call, SENT, price)
            (number,) = connection.execute(self._sql.INSERT, values).inserted_primary_key or (0,)
        return int(number)

    def batch(self, call: Call, prices: Mapping[str, float], budget: float) -> bool:
        """Write down calls that are about to leave in a file, if the job can pay for all of them.

        Args:
            call: what is asked, but for the data.
            prices: data -> the most that it can cost.
            budget: of the job, all its calls together.

        Returns:
            whether it can; nothing was written else.
        """
        with self._database.write() as connection:
            spent = self._spent(connection, call.job)
            for price in prices.values():  # One by one, as whoever chose them has added them up.
                spent += price
            if spent > budget:
                return False
            rows = [
                _new_row(replace(call, data=data), BATCHED, price) for data, price in prices.items()
            ]
            connection.execute(self._sql.INSERT, rows)
        return True

    def finish(self, *endings: Ending) -> None:
        """Write down how calls ended, all or none; those that have ended stay as they are."""
        rows = [
            {
                "row": one.number,
                "new_state": FAILED if one.failure else OK,
                "said": one.answer,
                "took": one.seconds,
                "tokens_sent": one.bill[0],
                "tokens_answered": one.bill[1],
                "cost": one.bill[2],
                "wrong": one.failure,
            }
            for one in endings
        ]
        if rows:
            with self._database.write() as connection:
                connection.execute(self._sql.FINISH, rows)

    def forget_batches(self, job: str) -> int:
        """Wait no more for what left in files; it stays paid for. The number of such calls."""
        with self._database.write() as connection:
            return int(connection.execute(self._sql.FORGET, {"of_job": job}).rowcount)

    def answers(self, call: Call, data: Iterable[str]) -> dict[str, str]:
        """Answers that are there already: data -> text, whatever the job was."""
        return {row[0]: row[1] for row in self._about(self._sql.KNOWN, call, data)}

    def batched(self, call: Call, data: Iterable[str]) -> dict[str, tuple[int, float]]:
        """What is out in a file: data -> (row, the most that it can cost), whatever the job was."""
        return {row[0]: (row[1], row[2]) for row in self._about(self._sql.BATCHED, call, data)}

    def spent(self, job: str) -> float:
        """What a job has spent so far, and may have to pay for what is under way."""
        with self._database.read() as connection:
            return self._spent(connection, job)

    def summary(self) -> list[dict[str, Any]]:
        """Per job, prompt and model: calls by how they ended, tokens, seconds and price."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql.SUMMARY).mappings().all()
        return [dict(row) for row in rows]

    def failures(self) -> list[dict[str, Any]]:
        """Per job what went wrong how often, the most frequent first."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql.FAILURES).mappings().all()
        return [dict(row) for row in rows]

    def _about(self, statement: Any, call: Call, data: Iterable[str]) -> Iterator[Any]:
        """Rows about some data of this prompt and model, the oldest first."""
        wanted = list(data)
        with self._database.read() as connection:
            for start in range(0, len(wanted), _AT_ONCE):
                values = {**_columns(call), "wanted": wanted[start : start + _AT_ONCE]}
                yield from connection.execute(statement, values)

    def _spent(self, connection: Any, job: str) -> float:
        return float(connection.scalar(self._sql.SPENT, {"job": job}))


def _new_row(call: Call, state: str, price: float) -> dict[str, Any]:
    return {
        **_columns(call),
        "state": state,
        "price": price,
        "sent_at": time.time(),
        "failure": "",
        "answer": "",
    }


def _columns(call: Call) -> Mapping[str, str]:
    return {
        "job": call.job,
        "prompt": call.prompt,
        "prompt_digest": call.prompt_digest,
        "model": call.model,
        "data": call.data,
    }
