"""The tables of the first version on PostgreSQL.

All texts compare by their bytes (collation ``C``), as SQLite does: so every order is the same.
"""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, String, Text, text

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    _create_catalogue()
    _create_log()
    _create_people()
    op.create_table("meta", _name("key", primary_key=True), _text("value"))
    _create_calls()


def _create_catalogue() -> None:
    op.create_table(
        "items",
        _text("item_id", primary_key=True),
        Column("number", BigInteger, nullable=False, unique=True),
        Column("version", BigInteger, nullable=False, unique=True),
        Column("deleted", Boolean, nullable=False, server_default=text("false")),
        _name("origin", 8),
        *(_text("title"), _text("description"), _text("attributes")),
        Column("available_from", Double),
    )
    op.create_table(
        "generated_texts",
        _text("item_id", primary_key=True),
        _name("field", 16, primary_key=True),
        _name("source", 8, primary_key=True),
        *(_text("text"), _text("model"), _text("prompt"), _name("digest")),
        Column("active", Boolean, nullable=False, server_default=text("false")),
    )


def _create_log() -> None:
    op.create_table(
        "events",
        Column("seq", BigInteger, primary_key=True, autoincrement=True),
        _text("event_id", nullable=True, unique=True),
        *(_text("user_id"), _text("item_id")),
        Column("timestamp", Double, nullable=False),
        _text("action"),
        Column("value", Double),
        *(_text("query"), _text("request_id")),
        Column("position", Integer),
        *(_text("surface"), _text("session_id")),
        _text("country", server_default=""),
        _text("device", server_default=""),
        Column("propensity", Double),
    )
    op.create_index("events_of_user", "events", ["user_id", "timestamp", "seq"])
    op.create_table(
        "segments",
        _name("name", primary_key=True),
        _name("checksum"),
        _name("origin", 8),
        *(_number("first_seq"), _number("last_seq"), _number("events")),
    )
    op.create_table(
        "hidden_users",
        _name("segment", primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
    )


def _create_people() -> None:
    op.create_table(
        "users", _text("user_id", primary_key=True), _text("attributes"), _name("origin", 8)
    )
    op.create_table(
        "api_keys",
        _name("key_id", 32, primary_key=True),
        *(_text("name"), _text("scopes"), _text("hash")),
        Column("created", Double, nullable=False),
        Column("expires", Double),
        Column("revoked", Double),
        Column("requests_per_minute", Integer),
    )
    op.create_table(
        "erased_users",
        _name("digest", primary_key=True),
        Column("moment", Double, nullable=False),
        _number("removals"),
        Column("until", Double),
    )
    op.create_table(
        "exports",
        _text("path", primary_key=True),
        *(_number("removals"), _number("item_version")),
    )
    op.create_table(
        "backups",
        Column("created", Double, primary_key=True),
        _text("target"),
        *(_number("removals"), _number("item_version")),
    )


def _create_calls() -> None:
    op.create_table(
        "llm_calls",
        Column("number", Integer, primary_key=True, autoincrement=True),
        *(_text("job"), _text("prompt"), _name("prompt_digest", 16), _text("model")),
        *(_name("data"), _name("state", 8), _text("failure"), _text("answer")),
        *(Column("sent", BigInteger), Column("answered", BigInteger), Column("seconds", Double)),
        Column("price", Double, nullable=False),
        Column("sent_at", Double, nullable=False),
    )
    op.create_index("llm_calls_of_job", "llm_calls", ["job"])
    op.create_index("llm_calls_about", "llm_calls", ["data"])


def _text(name: str, nullable: bool = False, **options: Any) -> Column[Any]:
    return Column(name, Text(collation="C"), nullable=nullable, **options)


def _name(name: str, length: int = 64, **options: Any) -> Column[Any]:
    return Column(name, String(length, collation="C"), nullable=False, **options)


def _number(name: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False)
