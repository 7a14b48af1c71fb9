"""SQL statements of the table of generated attribute values; imported only when it is used."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, false, or_, select, true

from serendip.data.store.schema import BLANK_ITEMS, GENERATED_VALUES
from serendip.data.store.upsert import insert_into

_KEY = (GENERATED_VALUES.c.item_id, GENERATED_VALUES.c.attribute)
_CONTENT = (
    GENERATED_VALUES.c.value,
    GENERATED_VALUES.c.source,
    GENERATED_VALUES.c.model,
    GENERATED_VALUES.c.prompt,
    GENERATED_VALUES.c.digest,
)

ALL = select(*_KEY, *_CONTENT, GENERATED_VALUES.c.active).order_by(*_KEY)
ITEMS_OF_ATTRIBUTE = select(GENERATED_VALUES.c.item_id).where(
    GENERATED_VALUES.c.attribute == bindparam("of")
)
REMOVE_VALUE = GENERATED_VALUES.delete().where(
    GENERATED_VALUES.c.item_id == bindparam("old_item"),
    GENERATED_VALUES.c.attribute == bindparam("old_attribute"),
)
DEACTIVATE = (
    GENERATED_VALUES.update()
    .where(GENERATED_VALUES.c.attribute == bindparam("of"))
    .values(active=false())
)
ACTIVATE = (
    GENERATED_VALUES.update()
    .where(*(column == bindparam(f"judged_{column.name}") for column in (*_KEY, *_CONTENT)))
    .values(active=true())
)
REMOVE_OF_ITEM = GENERATED_VALUES.delete().where(GENERATED_VALUES.c.item_id == bindparam("item"))
REMOVE_OF_ERASED = GENERATED_VALUES.delete().where(GENERATED_VALUES.c.item_id.in_(BLANK_ITEMS))
REMOVE = GENERATED_VALUES.delete()


def upsert(dialect: str) -> Any:
    """Insert values, or replace those of the same item and attribute that differ."""
    new = insert_into(dialect, GENERATED_VALUES)
    changes = {
        column.name: new.excluded[column.name] for column in (*_CONTENT, GENERATED_VALUES.c.active)
    }
    differs = or_(*(column.is_distinct_from(new.excluded[column.name]) for column in _CONTENT))
    return new.on_conflict_do_update(index_elements=list(_KEY), set_=changes, where=differs)
