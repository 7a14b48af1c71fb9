"""Maps the columns of two files to canonical names: by the user, by column name, by cells.

Cells are used only for required columns that neither the user nor the column names determine, and
only if they are unambiguous: a wrong mapping would train on nonsense. Otherwise an error shows the
columns and the option to add. How times are written is found from the cells, too.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from itertools import product
from pathlib import Path

import numpy as np

from serendip.data.arrays import TimeArray
from serendip.data.events.event import EVENT_NUMBERS
from serendip.data.store.validation import id_problem
from serendip.errors import DataError
from serendip.files.cells import evaluate, number_sql, strip_sql
from serendip.files.config import other_columns
from serendip.files.encodings import open_binary
from serendip.files.names import REQUIRED, TableKind, guess_mapping, is_called, names
from serendip.files.tables import CSV_SUFFIXES, JSON_SUFFIXES, Table, open_table
from serendip.files.times import PLAUSIBLE_SECONDS, TimeFormat
from serendip.jobs.init.attributes import (
    SAMPLE_ROWS,
    ActionRoles,
    AttributeRoles,
    classify_column,
    find_decimal,
)

MIN_SHARE = 0.95
"""Minimum share of the filled cells that have the format."""
_FIRST = 20
"""Cells, of those that ISO 8601 does not read, of which a pattern must read one."""
_DAY = 86_400.0
_EARLIEST, _LATEST = 631_152_000.0, 4_102_444_800.0
"""Unix seconds of 1990 and 2100: numbers outside are counts, prices or codes."""


@cache
def _patterns() -> tuple[str, ...]:
    known = names("times")
    clocks = map("".join, product(known["dates"], known["joints"], known["clocks"]))
    return (*known["dates"], *clocks, *known["moments"])


def find_time_formats(cells: Sequence[str], end: float = _LATEST) -> list[str]:
    """Formats, patterns of ``TimeFormat``, in which nearly all filled cells are times from 1990 on.

    Only "" if they are numbers or ISO 8601; two or more where the order of day and month is open.
    Nothing is after ``end``, in Unix seconds; later times count if all formats have some.
    """
    signs = set("".join(cells))
    likely = [pattern for pattern in _patterns() if set(re.sub("%.", "", pattern)) <= signs]
    plain = read_times(cells)
    odd = np.flatnonzero(~((plain >= _EARLIEST) & (plain <= end)))[:_FIRST].tolist()
    likely = _reading([cells[row] for row in odd], likely)
    for latest in (end, _LATEST):
        if _fits("", cells, latest):
            return [""]
        if found := [pattern for pattern in likely if _fits(pattern, cells, latest)]:
            return found
    return []


def _reading(cells: Sequence[str], patterns: Sequence[str]) -> list[str]:
    if not cells or not patterns:
        return []

    def seconds_sql(text: str) -> str:
        return f"[{', '.join(TimeFormat(one).seconds_sql(text) for one in patterns)}]"

    seconds = np.array(evaluate(cells, seconds_sql), np.float64)  # (cells, patterns)
    return [one for one, times in zip(patterns, seconds.T, strict=True) if np.isfinite(times).any()]


def find_unread(cells: Sequence[str], pattern: str = "") -> str:
    """A filled cell that is no time, if those are too many; empty = they are not.

    Without a pattern of ``TimeFormat``, ISO 8601 of any year is a time, and a number that says a
    mere order, as 0, 1, 2 do.
    """
    seconds = read_times(cells, pattern)
    is_odd = np.isnan(seconds)
    if not pattern:
        is_number = np.array([number is not None for number in evaluate(cells, number_sql)])
        is_odd |= is_number & (np.abs(seconds) >= PLAUSIBLE_SECONDS)
    return cells[int(is_odd.argmax())] if is_odd.mean() > 1.0 - MIN_SHARE else ""


def read_times(cells: Sequence[str], pattern: str = "") -> TimeArray:
    """(N,) Unix seconds of cells; NaN = it is no time."""
    return np.array(evaluate(cells, TimeFormat(pattern).seconds_sql), np.float64)


def _fits(pattern: str, cells: Sequence[str], latest: float) -> bool:
    seconds = read_times(cells, pattern)
    is_time = (seconds >= _EARLIEST) & (seconds <= latest)
    return len(cells) > 0 and bool(is_time.mean() >= MIN_SHARE)


MIN_ID_SHARE = 0.5
"""Minimum share of item ids among the distinct values of an event column of item ids."""

USER_RATIO = 4
"""The column of users has at least this many times the distinct values of any other candidate."""

MIN_DESCRIPTION_CHARS = 80
"""Mean length from which texts are descriptions."""

MIN_TITLE_SHARE = 0.9
"""Minimum share of distinct values among the cells of a column of titles."""

_MAX_SHOWN_LENGTH = 40
_TIMES = ("timestamp", "available_from")


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a text file is written; empty = the usual way.

    Args:
        encoding: see ``open_table``; empty = UTF-8.
        time_format: see ``TimeFormat``; empty = numbers or ISO 8601.
        decimal: sign before the decimals of the numbers of events; empty = as programs write them.
    """

    encoding: str = ""
    time_format: str = ""
    decimal: str = ""

    def settings(self) -> dict[str, str]:
        """Keys of ``serendip.toml`` that differ from their defaults."""
        return {name: text for name, text in asdict(self).items() if text}


@dataclass
class GuessedFile:
    """A file whose columns and form are guessed.

    Args:
        name: path relative to the workspace.
        form: as given by the user, with the encoding; ``guess_form`` finds the rest.
        given: canonical name -> file column, as given by the user.
        mapping: canonical name -> file column, see ``guess_columns``.
        roles: how the other columns of items are read; None = of another file.
        actions: what the actions of events are taken for; None = of another file, or no column.
    """

    path: Path
    name: str
    kind: TableKind
    form: FileForm
    given: Mapping[str, str] = field(default_factory=dict)
    mapping: dict[str, str] = field(default_factory=dict)
    roles: AttributeRoles | None = None
    actions: ActionRoles | None = None

    def settings(self) -> dict[str, object]:
        """Keys of the table of the file in ``serendip.toml``, as far as they are guessed."""
        return {"path": self.name, "columns": self.mapping, **self.form.settings()}

    @property
    def others(self) -> list[str]:
        """Columns that are not mapped."""
        return other_columns(self.columns, self.mapping)

    @cached_property
    def table(self) -> Table:
        """The opened file."""
        return open_table(self.path, self.form.encoding)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Column names of the file."""
        return self.table.columns

    @cached_property
    def cells(self) -> Mapping[str, Sequence[str]]:
        """Column -> its cells in the first rows; lists count as empty."""
        names = [f"c{number}" for number in range(len(self.columns))]
        expressions = dict(zip(names, map(self._text, self.columns), strict=True))
        batches = list(self.table.read(expressions, most=SAMPLE_ROWS))
        return {
            column: [cell for batch in batches for cell in batch[name].to_pylist()]
            for name, column in zip(names, self.columns, strict=True)
        }

    def time_formats(self, column: str, end: float = _LATEST) -> list[str]:
        """Formats that the times of a column may have, see ``find_time_formats``."""
        cells = _filled(self.cells[column])
        if pattern := self.form.time_format:
            return [pattern] if cells and not find_unread(cells, pattern) else []
        return find_time_formats(cells, end)

    def count_times(self, column: str, formats: Sequence[str]) -> dict[str, int]:
        """Format -> number of cells of the whole file that are times in it."""
        text = self._text(column)
        sums = {
            f"n{place}": f"count({TimeFormat(pattern).seconds_sql(text)})"
            for place, pattern in enumerate(formats)
        }
        batch, _ = self.table.read(sums)
        return dict(zip(formats, batch.to_pylist()[0].values(), strict=True))

    def values(self, column: str) -> frozenset[str]:
        """Distinct filled values of a column in the whole file."""
        batches = self.table.read({"cell": self._text(column)})
        return frozenset().union(*(batch["cell"].unique().to_pylist() for batch in batches)) - {""}

    def _text(self, column: str) -> str:
        return strip_sql(f"coalesce({self.table.cell(column).text}, '')")

    def free_columns(self) -> list[str]:
        """Columns that are not mapped and at least half filled."""
        cells = {name: self.cells[name] for name in self.others}
        return [name for name, own in cells.items() if 2 * len(_filled(own)) > len(own)]

    def fill(self, name: str, find: Callable[[], str | None]) -> None:
        """Map a canonical name that is not mapped to the column that is found."""
        if name not in self.mapping and (column := find()) is not None:
            self.mapping[name] = column

    def require_columns(self) -> None:
        """Refuse a file whose required columns are not mapped."""
        missing = [name for name in REQUIRED[self.kind] if name not in self.mapping]
        if not missing:
            return
        samples = "\n".join(
            f"  {name}: {next(iter(_filled(cells)), '(empty)')[:_MAX_SHOWN_LENGTH]}"
            for name, cells in self.cells.items()
        )
        options = " ".join(f"--map {self.kind}.{name}=COLUMN" for name in missing)
        raise DataError(
            f"{self.path}: cannot determine the column of {' and of '.join(missing)}. "
            f"The columns, with a cell of each:\n{samples}\n",
            f"Add {options} with a name from this list (in quotes if it has spaces).",
        )


def guess_columns(files: Mapping[TableKind, GuessedFile]) -> None:
    """Map the columns of all files.

    Raises:
        DataError: a required column cannot be determined; the hint is the option that names it.
    """
    for file in files.values():
        file.mapping = guess_mapping(file.columns, file.kind, file.given)
    items, events, users = files.get("items"), files.get("events"), files.get("users")
    if items is not None:
        items.fill("item_id", lambda: _find_item_id(items, events))
        items.require_columns()
        items.fill("available_from", lambda: _find_published(items))
        _add_texts(items)
    if events is not None:
        if items is not None:
            events.fill("item_id", lambda: _find_item_column(events, items))
        events.fill("timestamp", lambda: _take_single(_find_time_columns(events)))
        if "timestamp" in events.mapping:
            events.fill("user_id", lambda: _find_user_column(events))
        events.require_columns()
    if users is not None:
        users.fill("user_id", lambda: _take_single(_find_unique(users)))
        users.require_columns()


def _find_published(items: GuessedFile) -> str | None:
    """The first column of times of publishing that are written in one known way.

    Names such as ``published`` are also those of flags. The date of a release or a publication
    (``release_date``) is none of them: it tells of the work, which may be decades older than its
    entry here, and what is ordered in advance would be hidden until then.
    """
    names = (name for name in items.free_columns() if is_called(name, "published"))
    return next((name for name in names if len(items.time_formats(name)) == 1), None)


def guess_form(file: GuessedFile, now: float) -> None:
    """Find how a file is written, whose events were before ``now``, in Unix seconds.

    Raises:
        DataError: the order of day and month is open; the hint is the option that says it.
    """
    times = next((file.mapping[name] for name in _TIMES if name in file.mapping), None)
    time_format = "" if times is None else _guess_time_format(file, times, now)
    numbers = [name for name in EVENT_NUMBERS if name in file.mapping and name not in _TIMES]
    signs = (find_decimal(_filled(file.cells[file.mapping[name]])) for name in numbers)
    file.form = FileForm(file.form.encoding, time_format, next(filter(None, signs), ""))


def _guess_time_format(file: GuessedFile, column: str, now: float) -> str:
    """The format of the times of a column; empty = numbers or ISO 8601.

    Where the first rows leave the order of day and month open, the whole file decides.
    """
    cells = _filled(file.cells[column])
    # What has happened is not in the future, but a clock elsewhere may be ahead.
    formats = file.time_formats(column, now + _DAY if file.kind == "events" else _LATEST)
    if not formats and cells and (odd := find_unread(cells, file.form.time_format)):
        example = f"{file.form.time_format or '%d.%m.%Y %H:%M'} | %d/%m/%Y"
        raise DataError(
            f"{file.path.name}: how times are written in column {column!r} cannot be told; "
            f"a cell of it is {odd[:_MAX_SHOWN_LENGTH]!r}.",
            f'Say it, as in --time-format "{example}", or correct these cells.',
        )
    if len(formats) < 2:
        return "".join(formats)
    counts = file.count_times(column, formats)
    best = [pattern for pattern in formats if counts[pattern] == max(counts.values())]
    if len(best) == 1:
        return best[0]
    first, second = (np.nan_to_num(read_times(cells, pattern)) for pattern in best[:2])
    differs = first != second
    raise DataError(
        f"{file.path.name}: {cells[int(differs.argmax())]!r} in column {column!r} can be "
        f"{' or '.join(map(repr, best))}.",
        f'Add --time-format "{best[0]}" or another one.',
    )


def _add_texts(items: GuessedFile) -> None:
    """Map columns of words to title and description where no name tells them.

    The description is the column with the longest texts; the title is the only column of words
    whose cells are nearly all different. Where there is none, a description that is as short as
    a name is the title: many shops call the names of their products so.
    """
    mapping = items.mapping
    words = {
        name: filled
        for name in items.free_columns()
        if (filled := _filled(items.cells[name])) and not classify_column(name, filled)
    }
    long = {name: _mean_length(cells) for name, cells in words.items() if not _is_short(cells)}
    if "description" not in mapping and long:
        mapping["description"] = max(long, key=long.__getitem__)
    distinct = [name for name in words if name not in long and _are_distinct(words[name])]
    items.fill("title", lambda: _take_single(distinct) if len(items.cells) > 1 else None)
    if "title" in mapping or "description" in items.given:
        return
    cells = _filled(items.cells[mapping["description"]]) if "description" in mapping else []
    if cells and _is_short(cells) and _are_distinct(cells):
        mapping["title"] = mapping.pop("description")


def _mean_length(cells: Sequence[str]) -> float:
    return sum(map(len, cells)) / len(cells)


def _is_short(cells: Sequence[str]) -> bool:
    return _mean_length(cells) < MIN_DESCRIPTION_CHARS


def _are_distinct(cells: Sequence[str]) -> bool:
    return len(set(cells)) >= MIN_TITLE_SHARE * len(cells)


def _find_item_id(items: GuessedFile, events: GuessedFile | None) -> str | None:
    """The column with unique values; of several, the one whose values occur in the events."""
    unique = _find_unique(items)
    if len(unique) < 2 or events is None:
        return _take_single(unique)
    known = events.mapping.get("item_id")
    columns = events.free_columns() if known is None else [known]
    ids = {name: items.values(name) for name in unique}
    return _take_single([name for name in unique if _having(events, columns, ids[name])])


def _find_item_column(events: GuessedFile, items: GuessedFile) -> str | None:
    ids = items.values(items.mapping["item_id"])
    return _take_single(_having(events, events.free_columns(), ids))


def _having(file: GuessedFile, columns: Sequence[str], ids: frozenset[str]) -> list[str]:
    """The columns most of whose values are ids."""
    return [name for name in columns if _share(file.cells[name], ids) > MIN_ID_SHARE]


def _find_time_columns(events: GuessedFile) -> list[str]:
    return [name for name in events.free_columns() if events.time_formats(name)]


def _find_user_column(events: GuessedFile) -> str | None:
    """The column with repeated values; of several, the one with clearly most distinct values."""
    times = set(_find_time_columns(events))
    free = (name for name in events.free_columns() if name not in times)
    counts = {name: len(set(events.cells[name])) for name in free}
    repeated = [name for name in counts if 1 < counts[name] < len(events.cells[name])]
    repeated.sort(key=lambda name: -counts[name])
    if len(repeated) > 1 and counts[repeated[0]] < USER_RATIO * counts[repeated[1]]:
        return None
    return repeated[0] if repeated else None


def _take_single(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _filled(cells: Sequence[str]) -> list[str]:
    return [cell for cell in cells if cell]


def _find_unique(file: GuessedFile) -> list[str]:
    cells = {name: file.cells[name] for name in file.free_columns()}
    distinct = {name: own for name, own in cells.items() if own and len(set(own)) == len(own)}
    return [name for name, own in distinct.items() if not any(map(id_problem, own))]


def _share(cells: Sequence[str], ids: frozenset[str]) -> float:
    distinct = set(_filled(cells))
    return len(distinct & ids) / len(distinct) if distinct else 0.0


_SAMPLE = 1 << 16
"""Bytes of lines that are not ASCII, from which an encoding is told."""


def guess_encoding(path: Path, first: str = "") -> str:
    """The encoding of a CSV or JSON file; empty = UTF-8, or a file of another type.

    It is told by the first lines that are not ASCII. A file of which most of them are UTF-8 is
    UTF-8: its import names the others.

    Raises:
        DataError: it is not UTF-8 and no known encoding fits.
    """
    if not path.name.lower().removesuffix(".gz").endswith((*CSV_SUFFIXES, *JSON_SUFFIXES)):
        return ""
    with open_binary(path) as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
    lines = _sample(path)
    if 2 * sum(bool(_decode(line, "utf-8")) for line in lines) >= len(lines):
        return ""
    sample = b"".join(lines)
    for name in (first, *_rank(sample)):
        if name and _decode(sample, name):
            return name
    raise DataError(
        f"{path.name} is not UTF-8, and its encoding cannot be told.", "Add --encoding NAME."
    )


def _rank(sample: bytes) -> list[str]:
    from charset_normalizer import from_bytes

    # A text of one language and without odd signs is taken for what it seems to be.
    known = names("text")["encodings"]
    found = from_bytes(sample, cp_isolation=known)
    alike = [name for name in known if _decode(sample, name) == str(found.best())]
    return [*alike, *(match.encoding for match in found)]


def _decode(text: bytes, encoding: str) -> str:
    try:
        return text.decode(encoding)
    except UnicodeDecodeError:
        return ""


def _sample(path: Path) -> list[bytes]:
    lines, size = list[bytes](), 0
    with open_binary(path) as file:
        for line in file:
            if not line.isascii():
                lines.append(line)
                size += len(line)
            if size > _SAMPLE:
                break
    return lines
