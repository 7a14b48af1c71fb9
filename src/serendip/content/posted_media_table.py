"""SQL table and statements of the encoded files of posted items."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    select,
)

from serendip.data.store.upsert import insert_into

METADATA = MetaData()

FILES = Table(
    "posted_media",
    METADATA,
    Column("item_id", Text, primary_key=True),
    Column("modality", String(16), primary_key=True),
    Column("file", Text, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("vector", LargeBinary, nullable=True),
    Column("problem", Text, nullable=False),
    Column("announced", Boolean, nullable=False),
)

_KEY, _RESULT = ("item_id", "modality"), ("file", "encoder", "vector", "problem", "announced")

FIND = select(*(FILES.c[name] for name in (*_KEY, *_RESULT))).where(
    FILES.c.item_id.in_(bindparam("items", expanding=True))
)
REMOVE = FILES.delete().where(FILES.c.item_id == bindparam("item"))
ANNOUNCE = (
    FILES.update()
    .where(FILES.c.item_id.in_(bindparam("items", expanding=True)))
    .values(announced=True)
)


def upsert(dialect: str) -> Any:
    """Insert results, or replace those of the same item and modality."""
    insert = insert_into(dialect, FILES)
    changes = {name: insert.excluded[name] for name in _RESULT}
    return insert.on_conflict_do_update(index_elements=[*_KEY], set_=changes)
