"""Reads a users file: one user per row, every column but the id is an attribute.

A column whose filled cells are all numbers is a column of numbers, but for the country; any other
one is of texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from serendip.data.items.attributes import Attribute
from serendip.data.store.item_rows import list_items
from serendip.data.store.validation import user_problem
from serendip.data.users.user import COUNTRY, User
from serendip.files.config import ItemsConfig, UsersConfig, other_columns
from serendip.files.items import ItemsRead
from serendip.files.tables import open_table


def read_users(config: UsersConfig, base_folder: Path) -> list[User]:
    """All users of a file, in its order, including repeated ids; none without a file.

    Raises:
        DataError: the file is missing or unreadable, a column is not in it, or a row is broken;
            names file, count, first places and reasons.
    """
    if not config.path:
        return []
    path, names, mapping = config.open(base_folder)
    columns = {name: name for name in other_columns(names, mapping)}
    if COUNTRY in mapping:
        columns[COUNTRY] = mapping[COUNTRY]
    table = open_table(path, config.encoding)
    # Rows of users and of items differ in the rules of what is valid.
    form = ItemsConfig(encoding=config.encoding, list_separator="")
    rows = ItemsRead(form, path, {"item_id": mapping["user_id"]}, columns).read(table)
    users = [User(row.item_id, _with_country(row.attributes)) for row in list_items(rows)]
    named = {**columns, "user_id": mapping["user_id"]}
    problems = ((row, user_problem(user, named)) for row, user in enumerate(users))
    table.refuse_broken((row, text) for row, text in problems if text)
    return users


def _with_country(attributes: Mapping[str, Attribute]) -> Mapping[str, Attribute]:
    country = attributes.get(COUNTRY)
    return {**attributes, COUNTRY: f"{country:g}"} if isinstance(country, float) else attributes
