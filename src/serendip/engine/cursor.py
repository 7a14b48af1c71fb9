"""Cursors of paged answers: opaque outside, an offset inside."""

from __future__ import annotations

import base64
import binascii

from serendip.errors import DataError

_LARGEST = 10_000


def cursor_of(offset: int) -> str:
    """The cursor of the page that starts at ``offset``."""
    return base64.urlsafe_b64encode(f"o{offset}".encode()).decode().rstrip("=")


def offset_of(cursor: str) -> int:
    """Where the page of a cursor starts; 0 for the empty cursor.

    Raises:
        DataError: it was not made by ``cursor_of``, or lies too far.
    """
    if not cursor:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        offset = int(text.removeprefix("o")) if text.startswith("o") else -1
    except (ValueError, binascii.Error):
        offset = -1
    if not 0 <= offset <= _LARGEST:
        raise DataError(
            f"cursor {cursor[:40]!r} is not valid.", "Use `next` of an answer as it is."
        )
    return offset
