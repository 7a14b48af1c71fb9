"""The table of rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from serendip.data.store.schema import TEXT

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Make the table, without a row."""
    op.create_table(
        "rules",
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("changed", sa.Double, nullable=False),
        sa.Column("rule_id", TEXT, nullable=False),
        sa.Column("rule", TEXT, nullable=False),
    )
    op.create_index("changes_of_rule", "rules", ["rule_id", "version"])
