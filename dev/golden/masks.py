"""What may differ from run to run is replaced by its name; everything else stays exact."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from golden.names import MASKED_KEYS

MASK = "<masked>"
_DAY_S = 86_400.0

_TEXTS: tuple[tuple[str, str], ...] = (
    # Ids that the service draws: of answers (32 or 16 digits), of visitors, of index files.
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r"\b(visitor-)?[0-9a-f]{32}\b", r"\1<id>"),
    (r"\b(visitor-)?[0-9a-f]{16}\b", r"\1<id>"),
    (r"127\.0\.0\.1:\d{2,5}", "127.0.0.1:<port>"),
    (r"(?<=port )\d{2,5}\b", "<port>"),
    # What a stage cost, beside its name.
    (r"\s+[\d.,]+ s\s+[\d.,]+ CPU-s\s+[\d,]+ MB", " <cost>"),
)
_PATTERNS = tuple((re.compile(pattern), new) for pattern, new in _TEXTS)
_PROGRESS = "\u2501"
"""What bars are drawn with."""


class Masks:
    """Masks documents of one run.

    Args:
        folder: temporary, in which the product ran; it is masked wherever it is named.
    """

    def __init__(self, folder: Path) -> None:
        self._today = _today()
        self._folders = sorted({str(folder), str(folder.resolve())}, key=len, reverse=True)

    def document(self, value: Any) -> Any:
        """A value of JSON with masks in it."""
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): MASK if _is_masked(key, one) else self.document(one)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.document(one) for one in value]
        if isinstance(value, str):
            return self.text(value)
        return "<now>" if _is_now(value) else value

    def text(self, text: str) -> str:
        """A text with masks in it."""
        for folder in self._folders:
            text = text.replace(folder, "<folder>")
        for pattern, new in _PATTERNS:
            text = pattern.sub(new, text)
        return self._today.sub("<time>", text)

    def lines(self, text: str) -> list[str]:
        """Lines for people, without bars of progress."""
        told = [line for line in text.splitlines() if _PROGRESS not in line]
        return [self.text(line).rstrip() for line in told]


def _today() -> re.Pattern[str]:
    """Dates about now, with their time: when something was written; other dates are data."""
    now = datetime.now(UTC)
    days = "|".join(f"{now + timedelta(days=more):%Y-%m-%d}" for more in (-1, 0, 1))
    return re.compile(rf"({days})([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(\+00:00|Z)?)?")


def _is_masked(key: str, value: Any) -> bool:
    """Whether the value of a key differs from run to run; yes and no never do."""
    return key in MASKED_KEYS and not isinstance(value, bool)


def _is_now(value: Any) -> bool:
    """Whether a number is the time of this run, in Unix seconds: events posted without a time."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value - time.time()) < _DAY_S
