"""Broken rows of a file: counted, the first ones named with their places."""

from __future__ import annotations

from collections.abc import Sequence

from serendip.data.files.tables import NOT_UTF8, Table
from serendip.errors import DataError

SHOWN = 5
"""Broken rows of which an error has place and reason."""


def count_broken(count: int, first: Sequence[tuple[str, str]]) -> str:
    """Say how many rows are broken, 1 or more, and name the first ones.

    Args:
        count: of all.
        first: (place, reason) of at most ``SHOWN``.
    """
    listed = "; ".join(f"{place}: {reason}" for place, reason in first)
    more = f"; and {count - len(first):,} more" if count > len(first) else ""
    return f"{'1 row is' if count == 1 else f'{count:,} rows are'} broken: {listed}{more}."


class BrokenRows:
    """Collects the errors in the rows of one table.

    Args:
        table: the table being read; rows that it could not parse itself are added at the end.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._first: list[tuple[int, str]] = []
        self._count = 0

    def add(self, row: int, reason: str) -> None:
        """Record why a well-formed row, by its 0-based number, is invalid; in ascending order."""
        self._count += 1
        if len(self._first) < SHOWN:
            self._first.append((row, reason))

    def refuse(self) -> None:
        """Refuse the file if a row is broken.

        Raises:
            DataError: a row is broken; names file, count, first places and reasons.
        """
        broken = self._table.broken
        count = self._count + len(broken)
        if not count:
            return
        places = self._table.places([row for row, _ in self._first])
        named = [(place, reason) for place, (_, reason) in zip(places, self._first, strict=True)]
        first = sorted([*named, *broken], key=lambda pair: int(pair[0].split()[1]))[:SHOWN]
        mend = "Correct or remove these rows."
        if any(reason == NOT_UTF8 for _, reason in first):
            mend = (
                "Correct these rows, or name the encoding of the whole file, as in "
                '`encoding = "cp1252"`, if it is not UTF-8.'
            )
        elif all("is not a time" in reason for _, reason in first):
            mend = 'Say how times are written, as in `time_format = "%d.%m.%Y %H:%M"`.'
        what = f"{self._table.path.name}: {count_broken(count, first)}"
        raise DataError(what, f"Nothing was imported. {mend}")
