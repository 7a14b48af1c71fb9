"""SQL statements of the table of users; imported only when the table is used."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select

from serendip.data.store.schema import FROM_FILE, META, USER_TABLE
from serendip.data.store.upsert import insert_into

ALL = select(USER_TABLE.c.user_id, USER_TABLE.c.attributes).order_by(USER_TABLE.c.user_id)
ONE = select(USER_TABLE.c.attributes).where(USER_TABLE.c.user_id == bindparam("user"))
ERASE = USER_TABLE.delete().where(USER_TABLE.c.user_id == bindparam("user"))
DROP_FROM_FILES = USER_TABLE.delete().where(USER_TABLE.c.origin == FROM_FILE)
CHANGES = select(META.c.value).where(META.c.key == bindparam("key"))


def upsert(dialect: str) -> Any:
    """Insert users of the API, or replace those of the same id."""
    new = insert_into(dialect, USER_TABLE)
    changes = {name: new.excluded[name] for name in ("attributes", "origin")}
    return new.on_conflict_do_update(index_elements=["user_id"], set_=changes)


def insert_from_files(dialect: str) -> Any:
    """Insert users of a file; those that the API wrote stay as they are."""
    return insert_into(dialect, USER_TABLE).on_conflict_do_nothing(index_elements=["user_id"])
