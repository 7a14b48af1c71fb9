"""The users who were erased, known by keyed digests of their ids alone, and copies of the data.

What happened before the erasure of a user is never stored again: late events and rows of files are
left out. What happens after it is of somebody who came back, and stored. Clocks may be ahead: what
has no later time than anything that was erased counts as before. Attributes in files have no time:
they are left out for good, those of the API are stored. The key of the digests is in the same
database: they hide who was erased from people who see a receipt, not from somebody who has the
database and guesses an id.

Receipts of erasures name older copies of the data: backups, by the places that were given for them,
and exports with ids of users, or texts of items, that a command wrote or is writing.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from sqlalchemy import Connection, select

from serendip.data.arrays import BoolArray
from serendip.data.events.event_table import read_codes, read_numbers
from serendip.data.limits import MAX_CLOCK_LEAD_S
from serendip.data.store.schema import COPIES, ERASED_USERS, read_meta, set_meta, upsert
from serendip.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from serendip.data.store.base import Database

_SECRET_KEY = "key of erased users"


@dataclass(frozen=True, slots=True)
class UserErasure:
    """One erasure; a generation trained on a log with fewer removals may have learned from them."""

    digest: str
    moment: float  # Unix seconds at which it was asked for
    removals: int  # of the log, with which it took effect
    until: float  # of what is never stored again: the moment, or the newest time that was erased


@dataclass(frozen=True, slots=True)
class Erasures:
    """Some of the erasures of a database, as one transaction sees them."""

    secret: bytes = field(default=b"", repr=False)  # key of the digests; empty = nobody was erased
    by_digest: Mapping[str, UserErasure] = field(default_factory=dict)

    def find(self, user_id: str) -> UserErasure | None:
        """The erasure of a user; None if there is none among these."""
        return self.by_digest.get(digest_of(user_id, self.secret)) if self.by_digest else None

    def is_late(self, user_id: str, timestamp: float) -> bool:
        """Whether an event that the API receives happened before its user was erased."""
        # What files had of clocks far ahead shuts nobody out for longer than the API's own lead.
        one = self.find(user_id)
        return one is not None and timestamp <= min(one.until, one.moment + MAX_CLOCK_LEAD_S)

    def late_rows(self, events: pa.Table) -> BoolArray:
        """(E,) True for events of files that happened before their users were erased."""
        if not self.by_digest:
            return np.zeros(len(events), np.bool_)
        codes, user_ids = read_codes(events, "user_id")
        found = [self.find(user_id) for user_id in user_ids.to_pylist()]
        ends = np.array([-np.inf if one is None else one.until for one in found])
        late: BoolArray = read_numbers(events, "timestamp") <= ends[codes]
        return late


def read_erasures(connection: Connection, user_ids: Iterable[str] | None = None) -> Erasures:
    """The erasures of some users; None = of all."""
    secret = bytes.fromhex(read_meta(connection, _SECRET_KEY))
    if not secret:
        return Erasures()
    rows = ERASED_USERS.select()
    if user_ids is not None:
        digests = [digest_of(one, secret) for one in set(user_ids)]
        rows = rows.where(ERASED_USERS.c.digest.in_(digests))
    found = [UserErasure(*row) for row in connection.execute(rows)]
    return Erasures(secret, {one.digest: one for one in found})


def record_erasure(
    connection: Connection, user_id: str, moment: float, removals: int, until: float
) -> UserErasure:
    """Note that a user is erased, within a write transaction."""
    secret = bytes.fromhex(read_meta(connection, _SECRET_KEY))
    if not secret:
        secret = secrets.token_bytes(32)
        set_meta(connection, _SECRET_KEY, secret.hex())
    erasure = UserErasure(digest_of(user_id, secret), moment, removals, until)
    put_erasures(connection, [erasure])
    return erasure


def put_erasures(connection: Connection, erasures: Sequence[UserErasure]) -> None:
    """Add erasures of the same secret, or replace those of the same users."""
    if erasures:
        upsert(connection, ERASED_USERS, [asdict(one) for one in erasures])


def adopt_erasures(connection: Connection, erasures: Erasures) -> list[UserErasure]:
    """Use the key of another copy, in a write; which of its erasures are new here."""
    own = read_erasures(connection)
    if not own.secret:
        set_meta(connection, _SECRET_KEY, erasures.secret.hex())
    elif own.secret != erasures.secret:
        raise DataError(
            "the two databases have erased users under different keys.",
            "Name a copy of the same workspace.",
        )
    known = {digest: one.moment for digest, one in own.by_digest.items()}
    return [
        one
        for digest, one in erasures.by_digest.items()
        if known.get(digest, -math.inf) < one.moment
    ]


def digest_of(user_id: str, secret: bytes) -> str:
    """Keyed BLAKE2b digest of a user id, 64 hexadecimal digits."""
    return hashlib.blake2b(user_id.encode(), key=secret, digest_size=32).hexdigest()


@dataclass(frozen=True, slots=True)
class DataCopy:
    """A copy of what the store had at these removals of events, and version of the items."""

    place: str  # URI, or path: absolute, or relative to the workspace
    removals: int
    item_version: int


class Copies:
    """The copies of one kind of one database."""

    def __init__(self, database: Database, kind: Literal["backup", "export"]) -> None:
        self._database, self._kind = database, kind
        self._rows = select(COPIES.c.place, COPIES.c.removals, COPIES.c.item_version)
        self._rows = self._rows.where(COPIES.c.kind == kind).order_by(COPIES.c.place)

    def all(self) -> list[DataCopy]:
        """All that are known, by place."""
        return [DataCopy(*row) for row in self._database.rows(self._rows)]

    def begin(self, copy: DataCopy) -> None:
        """Note a copy before its first byte; what its place has from before stays older."""
        known = {one.place: one for one in self.all()}.get(copy.place, copy)
        removals = min(known.removals, copy.removals)
        self.end(DataCopy(copy.place, removals, min(known.item_version, copy.item_version)))

    def end(self, copy: DataCopy) -> None:
        """Note a copy whose place has nothing from before any more."""
        with self._database.write() as connection:
            upsert(connection, COPIES, [{"kind": self._kind, **asdict(copy)}])

    def forget(self, place: str) -> bool:
        """Forget a copy that was deleted; whether it was known."""
        chosen = COPIES.delete().where(COPIES.c.kind == self._kind, COPIES.c.place == place)
        with self._database.write() as connection:
            return connection.execute(chosen).rowcount > 0
