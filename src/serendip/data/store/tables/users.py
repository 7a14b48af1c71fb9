"""The users of one database, with their attributes: a file replaces what files wrote before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, select

from serendip.data.store.item_rows import read_attributes, write_attributes
from serendip.data.store.schema import (
    FROM_API,
    FROM_FILE,
    USER_TABLE,
    count_meta,
    insert_into,
    insert_rows,
    read_meta,
    upsert,
)
from serendip.data.store.validation import id_problem, require_valid, user_problem
from serendip.data.users.user import User

if TYPE_CHECKING:
    from serendip.data.store.base import Database

_CHANGES_KEY = "user changes"

_ALL = select(USER_TABLE.c.user_id, USER_TABLE.c.attributes).order_by(USER_TABLE.c.user_id)
_ONE = select(USER_TABLE.c.attributes).where(USER_TABLE.c.user_id == bindparam("user"))
_ERASE = USER_TABLE.delete().where(USER_TABLE.c.user_id == bindparam("user"))


class Users:
    """The table of users of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changes(self) -> int:
        """Number of writes to the table so far: while it is the same, so are all users."""
        with self._database.read() as connection:
            return int(read_meta(connection, _CHANGES_KEY) or 0)

    def get(self, user_id: str) -> User | None:
        """A user; None if nothing is stored about them."""
        if id_problem(user_id):
            return None
        with self._database.read() as connection:
            attributes = connection.scalar(_ONE, {"user": user_id})
        return None if attributes is None else User(user_id, read_attributes(attributes))

    def all(self, within: Connection | None = None) -> list[User]:
        """Every user, in order of their ids; see ``LogReader``."""
        with self._database.read(within) as connection:
            rows = connection.execute(_ALL)
            return [User(user_id, read_attributes(attributes)) for user_id, attributes in rows]

    def put(self, *users: User) -> None:
        """Add users, or replace all attributes of theirs; a ``DataError`` if one is invalid."""
        with self._database.write() as connection:
            _put(connection, users)

    def change(self, user_id: str, change: Callable[[User], User]) -> User:
        """Replace a user by what ``change`` makes of them, within one transaction."""
        with self._database.write() as connection:
            attributes = connection.scalar(_ONE, {"user": user_id})
            changed = change(User(user_id, read_attributes(attributes or "{}")))
            _put(connection, [changed])
        return changed

    def replace_imported(self, connection: Connection, users: Iterable[User]) -> int:
        """Replace what earlier imports wrote, within a write transaction; returns their number."""
        rows = list({user.user_id: _row(user, FROM_FILE) for user in users}.values())
        of_files = USER_TABLE.delete().where(USER_TABLE.c.origin == FROM_FILE)
        removed = connection.execute(of_files).rowcount
        insert = insert_into(connection.dialect.name, USER_TABLE, USER_TABLE.c.keys())
        insert_rows(connection, insert.on_conflict_do_nothing(), rows)
        if rows or removed:
            count_meta(connection, _CHANGES_KEY)
        return len(rows)

    def erase(self, connection: Connection, user_id: str) -> bool:
        """Remove what is stored about a user, within a write transaction; whether there was any."""
        has_any = connection.execute(_ERASE, {"user": user_id}).rowcount > 0
        if has_any:
            count_meta(connection, _CHANGES_KEY)
        return has_any


def _put(connection: Connection, users: Iterable[User]) -> None:
    valid = require_valid(users, user_problem, "a user")
    rows = {user.user_id: _row(user, FROM_API) for user in valid}
    if rows:
        upsert(connection, USER_TABLE, [*rows.values()])
        count_meta(connection, _CHANGES_KEY)


def _row(user: User, origin: str) -> dict[str, Any]:
    attributes = write_attributes(user.attributes)
    return {"user_id": user.user_id, "attributes": attributes, "origin": origin}
