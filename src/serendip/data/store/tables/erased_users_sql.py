"""SQL statements of the table of erased users; imported only when the table is used."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, select

from serendip.data.store.schema import ERASED_USERS
from serendip.data.store.upsert import insert_into

_COLUMNS = (
    *(ERASED_USERS.c.digest, ERASED_USERS.c.moment, ERASED_USERS.c.removals),
    func.coalesce(ERASED_USERS.c.until, ERASED_USERS.c.moment),
)

ALL = select(*_COLUMNS)
AMONG = ALL.where(ERASED_USERS.c.digest.in_(bindparam("digests", expanding=True)))
AFTER = ALL.where(ERASED_USERS.c.removals > bindparam("removals"))


def upsert(dialect: str) -> Any:
    """Insert an erasure, or replace an earlier one of the same user."""
    new = insert_into(dialect, ERASED_USERS)
    changes = {name: new.excluded[name] for name in ("moment", "removals", "until")}
    return new.on_conflict_do_update(index_elements=["digest"], set_=changes)
