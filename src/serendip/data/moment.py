"""Moments: Unix seconds inside, ISO 8601 in the JSON of answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from pydantic import PlainSerializer, WithJsonSchema


def format_moment(seconds: float) -> str:
    """A moment in ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


Moment: TypeAlias = Annotated[
    float,
    PlainSerializer(format_moment, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
