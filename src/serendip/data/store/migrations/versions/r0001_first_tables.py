"""The tables of the first version; ``schema`` says what each is for."""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    LargeBinary,
    String,
    Text,
    false,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

revision = "2"
down_revision = None

_TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_SERIAL = BigInteger().with_variant(Integer, "sqlite")


def _columns(kind: TypeEngine[Any], *names: str, **options: Any) -> list[Column[Any]]:
    return [Column(name, kind, **{"nullable": False, **options}) for name in names]


def _names(length: int, *names: str, **options: Any) -> list[Column[Any]]:
    kind = String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
    return _columns(kind, *names, **options)


def _keys(*names: str) -> list[Column[Any]]:
    return _columns(_TEXT, *names, primary_key=True)


def _flags(*names: str) -> list[Column[Any]]:
    return _columns(Boolean(), *names, server_default=false())


def upgrade() -> None:
    """Create all tables."""
    big, blob, pack = BigInteger(), LargeBinary(), {"autoincrement": False}
    real: Double[float] = Double()
    op.create_table(
        "items",
        *_keys("item_id"),
        *_columns(big, "number", "version", unique=True),
        *_flags("deleted"),
        *_names(8, "origin"),
        *_columns(_TEXT, "title", "description", "attributes"),
        *_columns(real, "available_from", nullable=True),
    )
    op.create_table(
        "events",
        *_columns(_SERIAL, "seq", primary_key=True, autoincrement=True),
        *_columns(_TEXT, "event_id", nullable=True, unique=True),
        *_columns(_TEXT, "user_id", "item_id"),
        *_columns(real, "timestamp"),
        *_columns(_TEXT, "action"),
        *_columns(real, "value", nullable=True),
        *_columns(_TEXT, "query", "request_id"),
        *_columns(Integer(), "position", nullable=True),
        *_columns(_TEXT, "surface", "session_id"),
        *_columns(_TEXT, "country", "device", server_default=""),
        *_columns(real, "propensity", nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_index("events_of_user", "events", ["user_id", "timestamp", "seq"])
    op.create_table(
        "packs",
        *_columns(big, "pack", primary_key=True, **pack),
        *_names(8, "origin"),
        *_columns(big, "first_seq", "last_seq", "events"),
        *_flags("stale"),
        *_columns(_TEXT, "fields"),
    )
    op.create_table(
        "pack_names",
        *_columns(big, "pack", primary_key=True, **pack),
        *_names(16, "name", primary_key=True),
        *_columns(big, "count"),
        *_columns(blob, "content"),
    )
    op.create_table(
        "pack_rows",
        *_columns(big, "pack", primary_key=True, **pack),
        *_keys("user_id"),
        *_columns(big, "events", "last"),
        *_columns(real, "newest"),
        *_columns(blob, "records"),
        *_columns(blob, "query", "request_id", "session_id", "event_id", nullable=True),
    )
    op.create_index("packs_of_user", "pack_rows", ["user_id", "pack", "events"])
    op.create_table(
        "generated_rows",
        *_names(8, "kind", primary_key=True),
        *_keys("item_id", "name"),
        *_names(8, "source", primary_key=True),
        *_columns(_TEXT, "value", "model", "prompt"),
        *_names(64, "digest"),
        *_flags("active"),
    )
    op.create_table(
        "llm_calls",
        *_columns(Integer(), "number", primary_key=True, autoincrement=True),
        *_columns(_TEXT, "job", "prompt"),
        *_names(16, "prompt_digest"),
        *_columns(_TEXT, "model"),
        *_names(64, "data"),
        *_names(8, "state"),
        *_columns(_TEXT, "failure", "answer"),
        *_columns(big, "sent", "answered", nullable=True),
        *_columns(real, "seconds", nullable=True),
        *_columns(real, "price", "sent_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("llm_calls_of_job", "llm_calls", ["job"])
    op.create_index("llm_calls_about", "llm_calls", ["data"])
    op.create_table(
        "users", *_keys("user_id"), *_columns(_TEXT, "attributes"), *_names(8, "origin")
    )
    op.create_table(
        "api_keys",
        *_names(32, "key_id", primary_key=True),
        *_columns(_TEXT, "name", "scopes", "hash"),
        *_columns(real, "created"),
        *_columns(real, "expires", "revoked", nullable=True),
    )
    op.create_table(
        "erased_users",
        *_names(64, "digest", primary_key=True),
        *_columns(real, "moment"),
        *_columns(big, "removals"),
        *_columns(real, "until"),
    )
    op.create_table(
        "copies",
        *_names(8, "kind", primary_key=True),
        *_keys("place"),
        *_columns(big, "removals", "item_version"),
    )
    op.create_table("meta", *_names(64, "key", primary_key=True), *_columns(_TEXT, "value"))
