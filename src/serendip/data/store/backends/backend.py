"""The one seam between SQLite and PostgreSQL: what a ``Database`` asks of either of them.

Everything else of the store is the same for both: tables, statements, transactions, answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from serendip.errors import StorageError

Dialect: TypeAlias = Literal["sqlite", "postgresql"]

WRITES = "serendip_writes"
"""Execution option of a connection whose transactions take the write lock when they begin."""

MAY_PAUSE = "serendip_may_pause"
"""Execution option of one that writes and may be silent for long between two statements."""


_POLL_S = 0.1


def wait_until(is_done: Callable[[], bool], wait_s: float) -> bool:
    """Try something until it succeeds, for some seconds; whether it did."""
    end = time.monotonic() + wait_s
    while not is_done():
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL_S)
    return True


class CommitWatch(Protocol):
    """Tells cheaply whether anything was committed; thread-safe.

    Attributes:
        is_remote: whether it asks a server, which takes as long as the network.
    """

    is_remote: bool

    def number(self) -> int | None:
        """A number that is the same as long as nothing is committed; None = not known.

        A commit that has returned is seen by the next call, whichever process made it.
        """
        ...

    def close(self) -> None:
        """Close its connection."""
        ...


class Backend(Protocol):
    """A kind of database; thread-safe.

    Attributes:
        name: for messages, which may reach clients: without a folder, a server or a password.
        failure: base class of the errors of its driver.
        scrubbed: what has no bytes of deleted rows after ``scrub``, for people.
        read_options: execution options of a connection that reads.
    """

    name: str
    failure: type[Exception]
    scrubbed: str
    read_options: Mapping[str, Any]

    @property
    def dialect(self) -> Dialect:
        """Of its SQL."""
        ...

    def create_engine(self) -> Engine:
        """Build the pool of connections; called once, before anything else."""
        ...

    def require_same(self) -> None:
        """Check that this is still the database that was opened.

        Raises:
            StorageError: it is not; a write would be lost.
        """
        ...

    def keep_open(self, engine: Engine) -> None:
        """Prepare for the database's being deleted while it is open."""
        ...

    def last_number(self, connection: Connection, table: str, column: str) -> int:
        """The largest number that a column that counts by itself has ever given out; 0 = none."""
        ...

    def set_last_number(self, connection: Connection, table: str, column: str, number: int) -> None:
        """Let a column that counts by itself give out only larger numbers from now on."""
        ...

    def translate(self, error: Exception) -> StorageError:
        """The error of this code for one of the driver."""
        ...

    def problem(self) -> str:
        """Why a write would fail now, checked without writing; empty = no known problem."""
        ...

    def may_write_again(self) -> bool:
        """Whether connections for reading alone are to be closed, as writes succeed again; once."""
        ...

    def damage(self, connection: Connection) -> list[str]:
        """Damage that the database itself reports; empty = none."""
        ...

    def weaknesses(self) -> list[str]:
        """What of its version or settings may lose data, as sentences; empty = nothing."""
        ...

    def version(self) -> str:
        """Name and version of the database."""
        ...

    def scrub(self) -> bool:
        """Write again what has bytes of deleted rows; whether all are gone."""
        ...

    def copy_file(self, path: Path) -> bool:
        """Copy the database as of this moment to a new file; False = it is none."""
        ...

    def watch(self) -> CommitWatch:
        """A watch of the commits of all processes."""
        ...

    def exclusive(self, name: str, wait_s: float) -> AbstractContextManager[Callable[[], None]]:
        """Be the only process of all machines that does something.

        Yields what raises a ``StorageError`` if the lock was lost.

        Raises:
            LockedError: another process does it, for longer than that.
        """
        ...
