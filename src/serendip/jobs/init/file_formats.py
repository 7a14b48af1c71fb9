"""Guesses how a text file is written: its encoding, the format of its times, its decimal sign."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from serendip.data.files.encodings import open_binary
from serendip.data.files.tables import CSV_SUFFIXES, JSON_SUFFIXES
from serendip.data.files.times import PATTERN_SEPARATOR, TimeFormat
from serendip.errors import DataError

_ENCODINGS = (
    *("cp1252", "cp949", "cp932", "gb18030", "big5", "cp1250", "cp1251", "cp1253", "cp1254"),
    *("cp1255", "cp1256"),
)
"""Encodings of spreadsheets around the world; of two that read a file alike, the first counts."""
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CHUNK = 1 << 20
_SAMPLE = 1 << 16
"""Bytes of lines that are not ASCII, from which an encoding is told."""
_UTF8_SHARE, _OTHER_SHARE = 0.9, 0.2
"""Share of these lines that are UTF-8: from the first on the file is, up to the second it is not;
some characters of other encodings are UTF-8, too."""
_SURE = 200
"""Bytes that are not ASCII from which on an encoding is more than a guess."""

_DATES = (
    *("%d.%m.%Y", "%Y.%m.%d", "%Y. %m. %d.", "%Y. %m. %d", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y"),
    *("%Y/%m/%d", "%d/%m/%y", "%m/%d/%y", "%y.%m.%d", "%y/%m/%d", "%y-%m-%d"),
    *("%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%d%m%Y", "%m%d%Y", "%d %b %Y"),
    *("%b %d, %Y", "%b %d %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%B %d, %Y"),
)
_JOINTS = (" ", "T", ", ")
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H.%M", "%H%M%S")
_PATTERNS = (
    *_DATES,
    *map("".join, product(_DATES, _JOINTS, _CLOCKS)),
    *("%Y%m%d%H%M", "%Y%m%d%H%M%S"),
)
_NUMBER_DATES = ("%Y%m%d", "%d%m%Y", "%m%d%Y", "%y%m%d", "%d%m%y", "%m%d%y")
_NUMBER_MOMENTS = ("%y%m%d%H%M", "%d%m%y%H%M", "%m%d%y%H%M")
_EARLIEST_MOMENT = "2000000000"
"""Year first since 2020; as Unix seconds such numbers are of 2033 and later."""
_MOST_ORDER = 1e8
"""Numbers below say an order, as 0, 1, 2 do; those from here on are seconds since 1973."""

_DAY = 86_400.0

MIN_SHARE = 0.95
"""Minimum share of the filled cells that have the format."""
_MOST_SPELLINGS = 3
"""Patterns of one column at most, beside numbers and ISO 8601."""
_TRIED = 50
"""Cells that a format must fit before all are tried."""

# Unix seconds of 1990 and 2100: numbers outside are counts, prices or codes.
EARLIEST, LATEST = 631_152_000.0, 4_102_444_800.0


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a text file is written; empty = the usual way.

    Args:
        encoding: see ``open_table``; empty = UTF-8.
        time_format: see ``TimeFormat``; empty = numbers or ISO 8601.
        decimal: sign before the decimals of the value of events; empty = as programs write it.
    """

    encoding: str = ""
    time_format: str = ""
    decimal: str = ""

    def settings(self) -> dict[str, str]:
        """Keys of ``serendip.toml`` that differ from their defaults."""
        return {name: text for name, text in asdict(self).items() if text}


def guess_encoding(path: Path, first: str = "") -> str:
    """The encoding of a CSV or JSONL file; empty = UTF-8, or a file of another type.

    A file of which few lines are broken is UTF-8: its import names these lines.

    Args:
        path: the file.
        first: the encoding of a file of the same source, which counts before all others.

    Raises:
        DataError: it is not UTF-8 and no known encoding fits, or it is UTF-8 in part.
    """
    if not path.name.lower().removesuffix(".gz").endswith((*CSV_SUFFIXES, *JSON_SUFFIXES)):
        return ""
    with open_binary(path) as file:
        begin = file.read(4)
    for mark, name in _MARKS:
        if begin.startswith(mark):
            return name
    if _is_in(path, "utf-8"):
        return ""
    lines = _sample(path)
    share = sum(bool(_decode(line, "utf-8")) for line in lines) / len(lines)
    if share >= _UTF8_SHARE:
        return ""
    if share > _OTHER_SHARE:
        raise DataError(
            f"{path.name}: {share:.0%} of its lines with letters that are not ASCII are UTF-8, "
            "the others are not.",
            "Correct it. --encoding utf-8 names the first line that is not; --encoding NAME says "
            "what all lines are.",
        )
    ranked = _rank_encodings(b"".join(lines)[: 4 * _SAMPLE])
    for name in [first, *ranked] if first else ranked:
        if _is_in(path, name):
            return name
    raise DataError(
        f"{path.name} is not UTF-8, and its encoding cannot be told.", "Add --encoding NAME."
    )


def is_sure(path: Path) -> bool:
    """True if a text file has a byte order mark, or enough letters that tell its encoding."""
    with open_binary(path) as file:
        begin = file.read(4)
    if any(begin.startswith(mark) for mark, _ in _MARKS):
        return True
    return sum(byte > 127 for line in _sample(path) for byte in line) >= _SURE


def find_time_formats(cells: Sequence[str], given: Sequence[str] | None = None) -> list[str]:
    """Formats in which nearly all cells are times of 1990 to 2100.

    Where no single one fits, cells that are spelt alike are looked at apart.

    Args:
        cells: filled ones.
        given: the formats to try, beside numbers and ISO 8601; None = all known ones.

    Returns:
        patterns of ``TimeFormat``; only "" if they are numbers or ISO 8601; two or more where the
        order of day and month is open.
    """
    if not cells:
        return []
    if said := [pattern for pattern in given or () if _fits(pattern, cells)]:
        return said
    if _fits("", cells):
        return [] if _are_moments(cells) else [""]
    signs = set(cells[len(cells) // 2])
    tried = _PATTERNS if given is None else ()
    likely = [pattern for pattern in tried if _literals(pattern) <= signs]
    fitting = [pattern for pattern in likely if _fits(pattern, cells)]
    return fitting or ([] if given is not None else _find_mixed_formats(cells))


def _find_mixed_formats(cells: Sequence[str]) -> list[str]:
    """Formats of several patterns by which nearly all cells are read; none = there is no such."""
    groups: dict[str, list[str]] = {}
    for cell in cells:
        groups.setdefault(re.sub(r"[^\W\d]+", "a", re.sub(r"\d+", "0", cell)), []).append(cell)
    least = (1.0 - MIN_SHARE) / 2 * len(cells)
    choices: dict[tuple[str, ...], None] = {}
    for alike in groups.values():
        if len(alike) < least or _fits("", alike):
            continue
        signs = set(alike[0])
        likely = [pattern for pattern in _PATTERNS if _literals(pattern) <= signs]
        fitting = tuple(pattern for pattern in likely if _fits(pattern, alike))
        if not fitting:
            return []
        choices[fitting] = None
    if not 0 < len(choices) <= _MOST_SPELLINGS:
        return []
    mixed = map(PATTERN_SEPARATOR.join, product(*choices))
    return [time_format for time_format in mixed if _fits(time_format, cells)]


def drop_future_formats(cells: Sequence[str], formats: Sequence[str], now: float) -> list[str]:
    """The formats in which no cell is after the present; all of them if none is such.

    Args:
        cells: filled ones, times of what has happened.
        formats: patterns of ``TimeFormat``.
        now: Unix seconds.
    """
    end = now + _DAY  # a clock elsewhere may be ahead
    past = [pattern for pattern in formats if not _is_any_after(end, cells, TimeFormat(pattern))]
    return past or list(formats)


def find_odd_time(cells: Sequence[str]) -> str:
    """A cell that is no time, of a column for which ``find_time_formats`` finds none.

    ISO 8601 of any year is a time. A number is one if it says a mere order, as 0, 1, 2 do, and does
    not look like a date.

    Args:
        cells: filled ones.

    Returns:
        the first such cell if they are too many; empty = they are not.
    """
    if any(reads_most(cells, pattern) for pattern in _NUMBER_DATES):
        return cells[0]
    if _is_most(cells, _is_order):
        return ""
    return next(cell for cell in cells if not _is_order(cell))


def reads_most(cells: Sequence[str], pattern: str) -> bool:
    """True if nearly all cells have a pattern and are read by it, whatever their year."""
    form = TimeFormat(pattern)
    return _is_most(cells, lambda cell: bool(form.pattern_of(cell)) and _is_read(cell, form))


def _is_most(cells: Sequence[str], is_one: Callable[[str], bool]) -> bool:
    """True for nearly all cells."""
    return sum(map(is_one, cells)) >= MIN_SHARE * len(cells)


def _is_order(cell: str) -> bool:
    try:
        return abs(float(cell)) < _MOST_ORDER
    except ValueError:
        return _is_read(cell, TimeFormat())


def _is_read(cell: str, form: TimeFormat) -> bool:
    try:
        form.parse(cell)
    except ValueError:
        return False
    return True


def _is_any_after(end: float, cells: Sequence[str], form: TimeFormat) -> bool:
    return any(_is_read(cell, form) and form.parse(cell) > end for cell in cells)


def is_time(text: str, form: TimeFormat) -> bool:
    """True for a time of 1990 to 2100 in a format."""
    try:
        return EARLIEST <= form.parse(text) <= LATEST
    except ValueError:
        return False


def _are_moments(cells: Sequence[str]) -> bool:
    """True for digits of dates and hours that would be Unix seconds of a far year."""
    if min(cells) < _EARLIEST_MOMENT:
        return False
    return any(reads_most(cells, pattern) for pattern in _NUMBER_MOMENTS)


def _literals(pattern: str) -> set[str]:
    return set(re.sub("%.", "", pattern))


def _fits(pattern: str, cells: Sequence[str]) -> bool:
    form = TimeFormat(pattern)
    return all(_is_most(part, lambda cell: is_time(cell, form)) for part in (cells[:_TRIED], cells))


def _rank_encodings(sample: bytes) -> list[str]:
    """Known encodings of a text, the most plausible first."""
    from charset_normalizer import from_bytes

    # A text of one language and without odd signs is taken for what it seems to be.
    found = from_bytes(sample, cp_isolation=list(_ENCODINGS))
    best = found.best()
    if best is None:
        return []
    alike = [name for name in _ENCODINGS if _decode(sample, name) == str(best)]
    return [*alike, *(match.encoding for match in found)]


def _decode(text: bytes, encoding: str) -> str:
    try:
        return text.decode(encoding)
    except UnicodeDecodeError:
        return ""


def _sample(path: Path) -> list[bytes]:
    """The first lines with letters that are not ASCII."""
    lines: list[bytes] = []
    size = 0
    with open_binary(path) as file:
        for line in file:
            if not line.isascii():
                lines.append(line)
                size += len(line)
                if size > _SAMPLE:
                    break
    return lines


def _is_in(path: Path, encoding: str) -> bool:
    """True if a whole file can be decoded."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in _chunks(path):
            decoder.decode(chunk)
        decoder.decode(b"", True)
    except UnicodeError:
        return False
    return True


def _chunks(path: Path) -> Iterator[bytes]:
    with open_binary(path) as file:
        while chunk := file.read(_CHUNK):
            yield chunk
