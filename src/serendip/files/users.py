"""Reads a users file: one user per row, every column but the id is an attribute.

A column whose filled cells are all numbers is a column of numbers; any other one is of texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from serendip.data.items.attributes import Attribute
from serendip.data.store.validation import user_problem
from serendip.data.users.user import COUNTRY, User
from serendip.files.config import UsersConfig, other_columns
from serendip.files.tables import Cell, open_table


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
    rows = list(table.rows([mapping["user_id"], *columns.values()]))
    values = [
        _read_column([row[place] for row in rows], is_text=name == COUNTRY)
        for place, name in enumerate(columns, 1)
    ]
    users = [
        _user(row[0], dict(zip(columns, given, strict=True)))
        for row, *given in zip(rows, *values, strict=True)
    ]
    named = {**columns, "user_id": mapping["user_id"]}
    problems = ((row, user_problem(user, named)) for row, user in enumerate(users))
    table.refuse_broken((row, text) for row, text in problems if text)
    return users


def _user(user_id: Cell, attributes: Mapping[str, Attribute | None]) -> User:
    given = {name: value for name, value in attributes.items() if value is not None}
    return User(user_id.strip() if isinstance(user_id, str) else "", given)


def _read_column(cells: Sequence[Cell], is_text: bool) -> list[Attribute | None]:
    """The values of a column, None where there is none."""
    texts = [cell.strip() if isinstance(cell, str) else cell for cell in cells]
    filled = [text for text in texts if text]
    if not is_text and filled and all(map(_is_number, filled)):
        return [float(text) if isinstance(text, str) and text else None for text in texts]
    return [text or None for text in texts]


def _is_number(cell: Cell) -> bool:
    try:
        return isinstance(cell, str) and math.isfinite(float(cell))
    except ValueError:
        return False
