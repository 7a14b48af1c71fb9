"""The tables of the first version, as ``schema`` has them."""

from __future__ import annotations

from alembic import op

from serendip.data.store.schema import METADATA

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    METADATA.create_all(op.get_bind())
