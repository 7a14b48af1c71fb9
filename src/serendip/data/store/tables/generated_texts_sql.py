"""SQL statements of the table of generated texts; imported only when the table is used."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, false, func, or_, select, true

from serendip.data.store.schema import BLANK_ITEMS, GENERATED_TEXTS
from serendip.data.store.upsert import insert_into

_KEY = (GENERATED_TEXTS.c.item_id, GENERATED_TEXTS.c.field, GENERATED_TEXTS.c.source)
_CONTENT = (
    GENERATED_TEXTS.c.text,
    GENERATED_TEXTS.c.model,
    GENERATED_TEXTS.c.prompt,
    GENERATED_TEXTS.c.digest,
)

ALL = select(*_KEY, *_CONTENT, GENERATED_TEXTS.c.active).order_by(*_KEY)
COUNT_ACTIVE = select(func.count()).select_from(GENERATED_TEXTS).where(GENERATED_TEXTS.c.active)
DEACTIVATE = GENERATED_TEXTS.update().where(GENERATED_TEXTS.c.active).values(active=false())
ACTIVATE = (
    GENERATED_TEXTS.update()
    .where(and_(*(column == bindparam(f"judged_{column.name}") for column in (*_KEY, *_CONTENT))))
    .values(active=true())
)
REMOVE_OF_ITEM = GENERATED_TEXTS.delete().where(GENERATED_TEXTS.c.item_id == bindparam("item"))
REMOVE_OF_ERASED = GENERATED_TEXTS.delete().where(GENERATED_TEXTS.c.item_id.in_(BLANK_ITEMS))
KEYS_OF_SOURCE = select(*_KEY).where(GENERATED_TEXTS.c.source == bindparam("of"))
REMOVE_TEXT = GENERATED_TEXTS.delete().where(
    and_(*(column == bindparam(f"old_{column.name}") for column in _KEY))
)
REMOVE = GENERATED_TEXTS.delete()


def upsert(dialect: str) -> Any:
    """Insert texts, or replace those of the same key whose content differs."""
    new = insert_into(dialect, GENERATED_TEXTS)
    changes = {
        column.name: new.excluded[column.name] for column in (*_CONTENT, GENERATED_TEXTS.c.active)
    }
    differs = or_(*(column.is_distinct_from(new.excluded[column.name]) for column in _CONTENT))
    return new.on_conflict_do_update(index_elements=list(_KEY), set_=changes, where=differs)
