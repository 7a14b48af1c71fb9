"""The tables of the first version, which a new database gets by ``create_all``: nothing to do."""

from __future__ import annotations

revision = "2"  # "1" had other tables and was never released
down_revision = None


def upgrade() -> None:
    """Do nothing: no database is older."""
