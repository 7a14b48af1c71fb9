"""The users who were erased, known by keyed digests of their ids alone.

What happened before the erasure of a user is never stored again: late events and rows of files are
left out. What happens after it is of somebody who came back, and stored. Clocks may be ahead: what
has no later time than anything that was erased counts as before, so that it does not come back when
it is sent or imported again. Attributes in files have no time: they are left out for good, those of
the API are stored.

The key of the digests is in the same database: they hide who was erased from people who see a
receipt or a list, not from somebody who has the database and guesses an id.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import Connection

from serendip.data.arrays import BoolArray
from serendip.data.events.event_table import read_codes, read_numbers
from serendip.data.limits import MAX_CLOCK_LEAD_S
from serendip.data.store.schema import ERASED_USERS, read_meta, set_meta
from serendip.data.store.upsert import upsert
from serendip.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_SECRET_KEY = "key of erased users"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class UserErasure:
    """One erasure.

    Args:
        moment: Unix seconds at which it was asked for.
        removals: number of removals of the log with which it took effect; a generation that was
            trained on a log with fewer may have learned from the user.
        until: Unix seconds; what happened until then is never stored again. The moment, or the
            time of the newest event that was erased if that is later.
    """

    digest: str
    moment: float
    removals: int
    until: float


@dataclass(frozen=True, slots=True)
class Erasures:
    """Some of the erasures of a database, as one transaction sees them.

    Args:
        secret: key of the digests; empty = nobody was ever erased.
    """

    secret: bytes = field(default=b"", repr=False)
    by_digest: Mapping[str, UserErasure] = field(default_factory=dict)

    def find(self, user_id: str) -> UserErasure | None:
        """The erasure of a user; None if there is none among these."""
        if not self.by_digest:
            return None
        return self.by_digest.get(digest_of(user_id, self.secret))

    def is_late(self, user_id: str, timestamp: float) -> bool:
        """Whether an event that the API receives happened before its user was erased.

        Files may have had events far ahead of the clock; these keep who came back out of the API
        for no longer than the lead that it accepts.
        """
        erasure = self.find(user_id)
        if erasure is None:
            return False
        return timestamp <= min(erasure.until, erasure.moment + MAX_CLOCK_LEAD_S)

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
        rows = rows.where(
            ERASED_USERS.c.digest.in_([digest_of(one, secret) for one in set(user_ids)])
        )
    found = [UserErasure(*row) for row in connection.execute(rows)]
    return Erasures(secret, {one.digest: one for one in found})


def record_erasure(
    connection: Connection, user_id: str, moment: float, removals: int, until: float
) -> UserErasure:
    """Note that a user is erased, within a write transaction."""
    secret = read_erasures(connection, ()).secret
    if not secret:
        secret = secrets.token_bytes(_SECRET_BYTES)
        set_meta(connection, _SECRET_KEY, secret.hex())
    erasure = UserErasure(digest_of(user_id, secret), moment, removals, until)
    put_erasures(connection, [erasure])
    return erasure


def put_erasures(connection: Connection, erasures: Sequence[UserErasure]) -> None:
    """Add erasures of the same secret, or replace those of the same users."""
    if erasures:
        upsert(connection, ERASED_USERS, [asdict(one) for one in erasures])


def adopt_erasures(connection: Connection, erasures: Erasures) -> list[UserErasure]:
    """Use the key of another copy, in a write; which of its erasures are new here.

    Raises:
        DataError: the other one is no copy of this one.
    """
    own = read_erasures(connection)
    if not own.secret:
        set_meta(connection, _SECRET_KEY, erasures.secret.hex())
    elif own.secret != erasures.secret:
        raise DataError(
            "the two databases have erased users under different keys.",
            "Name a copy of the same workspace.",
        )
    known = own.by_digest
    return [
        one
        for digest, one in erasures.by_digest.items()
        if digest not in known or _extent(known[digest]) < _extent(one)
    ]


def _extent(erasure: UserErasure) -> tuple[float, float]:
    return erasure.moment, erasure.until


def digest_of(user_id: str, secret: bytes) -> str:
    """Keyed BLAKE2b digest of a user id, 64 hexadecimal digits."""
    return hashlib.blake2b(user_id.encode(), key=secret, digest_size=32).hexdigest()
