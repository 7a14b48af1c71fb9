"""What a database must not have that comes from elsewhere: parts that act on what is written."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from serendip.data.store.database import Database

_ACTIVE = re.compile(
    r"\b(VIRTUAL|CHECK|CONFLICT|GENERATED|REFERENCES|COLLATE)\b|\bAS\s*\(", re.IGNORECASE
)
"""Words of definitions that change or refuse rows; no table of this code has one."""


def find_foreign_part(path: Path) -> str:
    """Name a trigger, a view or an active definition of a SQLite file; empty = there is none.

    Raises:
        StorageError: the file is missing or damaged.
    """
    with closing(Database(path)) as database, database.read() as connection:
        parts = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master").all()
    for kind, name, definition in parts:
        if kind not in ("table", "index") or _ACTIVE.search(definition or ""):
            return f"{kind} {str(name)[:80]!r}"
    return ""
