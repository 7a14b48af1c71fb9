"""The API keys of one workspace; a revoked one stays, so that its service is never open again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sqlalchemy import Connection, Row, select

from serendip.data.api_key import ApiKey, IssuedKey
from serendip.data.store.base import PATIENT_S, Database
from serendip.data.store.config import DatabasePlace
from serendip.data.store.database import existing_database
from serendip.data.store.schema import KEY_TABLE, read_meta, set_meta
from serendip.errors import DataError

_ENDED_KEY = "ended sessions"

_ALL = select(KEY_TABLE).order_by(KEY_TABLE.c.created, KEY_TABLE.c.key_id)


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """All keys of a workspace at one moment."""

    keys: Mapping[str, ApiKey]
    ended_sessions: Mapping[str, int] = field(default_factory=dict)  # id of a key -> how often


class ApiKeys:
    """The table of keys of one database; safe for concurrent threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.commit_number, self.close = database.commit_number, database.close

    @classmethod
    def open(cls, place: DatabasePlace, busy_timeout_s: float = PATIENT_S) -> Self:
        """Open the keys of an existing database; a ``StorageError`` if it cannot be opened."""
        return cls(existing_database(place, busy_timeout_s))

    def read(self) -> KeySnapshot:
        """All keys, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(_ALL).all()
            ended = _read_ended(connection)
        return KeySnapshot({row.key_id: _to_key(row) for row in rows}, ended)

    def add(self, issued: IssuedKey) -> None:
        """Store a new key."""
        row = asdict(issued.key) | {"scopes": " ".join(sorted(issued.key.scopes))}
        with self._database.write() as connection:
            connection.execute(KEY_TABLE.insert(), row)

    def end_sessions(self, key_id: str) -> None:
        """Count up how often the sessions of a key were ended."""
        with self._database.write() as connection:
            ended = _read_ended(connection)
            ended[key_id] = ended.get(key_id, 0) + 1
            set_meta(connection, _ENDED_KEY, json.dumps(ended))

    def revoke(self, key_id: str, now: float) -> ApiKey:
        """Refuse a key from now on, if it is not already; a ``DataError`` if there is none."""
        is_named, is_accepted = KEY_TABLE.c.key_id == key_id, KEY_TABLE.c.revoked.is_(None)
        with self._database.write() as connection:
            connection.execute(KEY_TABLE.update().where(is_named, is_accepted).values(revoked=now))
            row = connection.execute(KEY_TABLE.select().where(is_named)).one_or_none()
        if row is None:
            raise DataError(f"there is no key {key_id[:40]!r}.", "See `serendip keys list`.")
        return _to_key(row)


def _read_ended(connection: Connection) -> dict[str, int]:
    ended: dict[str, int] = json.loads(read_meta(connection, _ENDED_KEY) or "{}")
    return ended


def _to_key(row: Row[Any]) -> ApiKey:
    return ApiKey(**{**row._mapping, "scopes": frozenset(row.scopes.split())})
