"""Generated values of attributes that items lack."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, String, Text, text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "generated_values",
        *(
            Column(name, Text(collation="C"), primary_key=True, nullable=False)
            for name in ("item_id", "attribute")
        ),
        Column("value", Text(collation="C"), nullable=False),
        Column("source", String(8, collation="C"), nullable=False),
        *(Column(name, Text(collation="C"), nullable=False) for name in ("model", "prompt")),
        Column("digest", String(64, collation="C"), nullable=False),
        Column("active", Boolean, nullable=False, server_default=text("false")),
    )
