"""Broken rows of a file: counted, the first ones named with their places."""

from __future__ import annotations

from collections.abc import Iterable

from serendip.errors import DataError
from serendip.files.tables import NOT_UTF8, Table

_SHOWN = 5
"""Broken rows of which an error has place and reason."""


def refuse_broken_rows(table: Table, problems: Iterable[tuple[int, str]]) -> None:
    """Refuse a file if a row is broken: half an import is worse than none.

    Args:
        table: that was read to its end.
        problems: (0-based number, reason) of well-formed rows that are invalid, ascending.

    Raises:
        DataError: a row is broken; names file, count, first places and reasons.
    """
    invalid = list(problems)
    count = len(invalid) + len(table.broken)
    if not count:
        return
    places = table.places([row for row, _ in invalid[:_SHOWN]])
    named = [(place, reason) for place, (_, reason) in zip(places, invalid, strict=False)]
    first = sorted([*named, *table.broken], key=lambda pair: int(pair[0].split()[1]))[:_SHOWN]
    listed = "; ".join(f"{place}: {reason}" for place, reason in first)
    more = f"; and {count - len(first):,} more" if count > len(first) else ""
    mend = "Correct or remove these rows."
    if any(reason == NOT_UTF8 for _, reason in first):
        mend = (
            "Correct these rows, or name the encoding of the whole file, as in "
            '`encoding = "cp1252"`, if it is not UTF-8.'
        )
    elif all("is not a time" in reason for _, reason in first):
        mend = 'Say how times are written, as in `time_format = "%d.%m.%Y %H:%M"`.'
    raise DataError(
        f"{table.path.name}: {'1 row is' if count == 1 else f'{count:,} rows are'} broken: "
        f"{listed}{more}.",
        f"Nothing was imported. {mend}",
    )
