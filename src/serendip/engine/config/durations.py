"""Types of settings that are durations."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from serendip.errors import ConfigError
from serendip.runtime.budget import parse_duration

NEVER = "never"


def _require_duration(text: str) -> str:
    """A validated duration."""
    try:
        parse_duration(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return text


def _read_never(text: str | None) -> str | None:
    """A validated duration; None for ``never``."""
    return None if text is None or text == NEVER else _require_duration(text)


Duration = Annotated[str, AfterValidator(_require_duration)]
"""A duration such as ``10m``."""

OptionalDuration = Annotated[str | None, AfterValidator(_read_never)]
"""A duration, or ``never``, which is None."""
