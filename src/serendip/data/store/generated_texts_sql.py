"""SQL statements of the table of generated texts; imported only when the table is used."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, false, func, or_, select, true
from sqlalchemy.dialects import postgresql, sqlite

from serendip.data.store.schema import WRITTEN

_KEY = (WRITTEN.c.item_id, WRITTEN.c.field, WRITTEN.c.source)
_CONTENT = (WRITTEN.c.text, WRITTEN.c.model, WRITTEN.c.prompt, WRITTEN.c.digest)

ALL = select(*_KEY, *_CONTENT, WRITTEN.c.active).order_by(*_KEY)
COUNT_ACTIVE = select(func.count()).select_from(WRITTEN).where(WRITTEN.c.active)
DEACTIVATE = WRITTEN.update().where(WRITTEN.c.active).values(active=false())
ACTIVATE = (
    WRITTEN.update()
    .where(and_(*(column == bindparam(f"judged_{column.name}") for column in (*_KEY, *_CONTENT))))
    .values(active=true())
)
REMOVE = WRITTEN.delete()


def upsert(dialect: str) -> Any:
    """Insert texts, or replace those of the same key whose content differs."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    new = insert(WRITTEN)
    changes = {column.name: new.excluded[column.name] for column in (*_CONTENT, WRITTEN.c.active)}
    differs = or_(*(column.is_distinct_from(new.excluded[column.name]) for column in _CONTENT))
    return new.on_conflict_do_update(index_elements=list(_KEY), set_=changes, where=differs)
