"""Erasures that wait for a segment that cannot be read."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "waiting_erasures",
        *(
            Column(name, String(64, collation="C"), primary_key=True)
            for name in ("segment", "digest")
        ),
    )
