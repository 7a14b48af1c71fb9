"""A file with the attributes of users at a moment, in which each reader looks up its own users."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from serendip.data.store.backends.sqlite_backend import sqlite_module
from serendip.data.store.item_rows import read_attributes
from serendip.data.users.user import User

_CREATE = "CREATE TABLE users (user_id TEXT PRIMARY KEY, attributes TEXT NOT NULL) WITHOUT ROWID"
_ANY = "SELECT 1 FROM users LIMIT 1"
_ONE = "SELECT attributes FROM users WHERE user_id = ?"


class UserFile:
    """Users by id, in an SQLite file that nobody changes any more; thread-safe.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"  # no locks, wherever it lies
        self._connection = sqlite_module().connect(address, uri=True, check_same_thread=False)
        self._lock = threading.Lock()

    @staticmethod
    def write(path: Path, rows: Iterable[tuple[str, str]]) -> None:
        """Write a new file for other processes.

        Args:
            path: of the file.
            rows: id and attributes, as JSON, of each user.
        """
        with closing(sqlite_module().connect(path, isolation_level=None)) as connection:
            for pragma in ("journal_mode = OFF", "synchronous = OFF"):  # read by this job alone
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            connection.execute(_CREATE)
            connection.executemany("INSERT INTO users VALUES (?, ?)", rows)
            connection.execute("COMMIT")

    def has_any(self) -> bool:
        """Whether anybody is in it."""
        with self._lock:
            return self._connection.execute(_ANY).fetchone() is not None

    def get(self, user_id: str) -> User | None:
        """A user; None if they are not in it."""
        with self._lock:
            found = self._connection.execute(_ONE, (user_id,)).fetchone()
        return None if found is None else User(user_id, read_attributes(found[0]))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
