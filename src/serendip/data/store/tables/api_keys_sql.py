"""SQL statements of the table of API keys; imported only when the table is used."""

from __future__ import annotations

from sqlalchemy import bindparam, or_, select

from serendip.data.store.schema import KEY_TABLE

ALL = select(KEY_TABLE).order_by(KEY_TABLE.c.created, KEY_TABLE.c.key_id)
ONE = select(KEY_TABLE).where(KEY_TABLE.c.key_id == bindparam("id"))
INSERT = KEY_TABLE.insert()
REVOKE = (
    KEY_TABLE.update()
    .where(
        KEY_TABLE.c.key_id == bindparam("id"),
        or_(KEY_TABLE.c.revoked.is_(None), KEY_TABLE.c.revoked > bindparam("moment")),
    )
    .values(revoked=bindparam("moment"))
)
