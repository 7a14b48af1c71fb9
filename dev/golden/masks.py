"""What may differ from run to run is replaced by its name; everything else stays exact."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
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
    (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?", "<time>"),
    (r"127\.0\.0\.1:\d{2,5}", "127.0.0.1:<port>"),
    (r"(?<=port )\d{2,5}\b", "<port>"),
    # What a stage cost, beside its name; what something took in the lines of benchmarks.
    (r"\s+[\d.,]+ s\s+[\d.,]+ CPU-s\s+[\d,]+ MB", " <cost>"),
    (r"[\d.,]+ CPU[ -](ms|s)\b", r"<cost> CPU-\1"),
    (r"CPU (ms|s)[:]? [\d.]+( for a text of the table, [\d.]+)?", r"CPU \1 <cost>"),
    (r"ms / 200 [\d.]+", "ms / 200 <cost>"),
    (r"(wall s|MB) +[\d.]+", r"\1 <cost>"),
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
        return text

    def lines(self, text: str) -> list[str]:
        """Lines for people, without bars of progress."""
        told = [line for line in text.splitlines() if _PROGRESS not in line]
        return [self.text(line).rstrip() for line in told]


def _is_masked(key: str, value: Any) -> bool:
    """Whether the value of a key differs from run to run; yes and no never do."""
    return key in MASKED_KEYS and not isinstance(value, bool)


def _is_now(value: Any) -> bool:
    """Whether a number is the time of this run, in Unix seconds: events posted without a time."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value - time.time()) < _DAY_S
