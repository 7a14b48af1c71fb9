"""INSERT with ON CONFLICT, which SQLAlchemy has per dialect, in the same words for both."""

from __future__ import annotations

from typing import TypeAlias

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = sqlite.Insert | postgresql.Insert


def insert_into(dialect: str, table: Table) -> Insert:
    """An INSERT that takes ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
