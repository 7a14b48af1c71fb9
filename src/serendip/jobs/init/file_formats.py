"""Guesses how a text file is written: its encoding, the format of its times, its decimal sign."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from serendip.data.files.encodings import open_binary
from serendip.data.files.tables import CSV_SUFFIXES, JSON_SUFFIXES
from serendip.data.files.times import TimeFormat
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

_DATES = (
    *("%d.%m.%Y", "%Y.%m.%d", "%Y. %m. %d.", "%Y. %m. %d", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y"),
    *("%Y/%m/%d", "%d/%m/%y", "%m/%d/%y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%d %b %Y"),
    *("%b %d, %Y", "%b %d %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%B %d, %Y"),
)
_JOINTS = (" ", "T", ", ")
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H.%M", "%H%M%S")
_PATTERNS = (*_DATES, *map("".join, product(_DATES, _JOINTS, _CLOCKS)), "%Y%m%d%H%M%S")

MIN_SHARE = 0.95
"""Minimum share of the filled cells that have the format."""
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


def guess_encoding(path: Path) -> str:
    """The encoding of a CSV or JSONL file; empty = UTF-8, or a file of another type.

    Raises:
        DataError: it is not UTF-8 and no known encoding fits.
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
    for name in _rank_encodings(_sample(path)):
        if _is_in(path, name):
            return name
    raise DataError(
        f"{path.name} is not UTF-8, and its encoding cannot be told.", "Add --encoding NAME."
    )


def find_time_formats(cells: Sequence[str], given: Sequence[str] | None = None) -> list[str]:
    """Formats in which nearly all cells are times of 1990 to 2100.

    Args:
        cells: filled ones.
        given: the formats to try, beside numbers and ISO 8601; None = all known ones.

    Returns:
        patterns of ``TimeFormat``; only "" if they are numbers or ISO 8601; two or more where the
        order of day and month is open.
    """
    if not cells:
        return []
    if _fits("", cells):
        return [""]
    signs = set(cells[len(cells) // 2])
    tried = _PATTERNS if given is None else given
    likely = [pattern for pattern in tried if _literals(pattern) <= signs]
    return [pattern for pattern in likely if _fits(pattern, cells)]


def is_time(text: str, form: TimeFormat) -> bool:
    """True for a time of 1990 to 2100 in a format."""
    try:
        return EARLIEST <= form.parse(text) <= LATEST
    except ValueError:
        return False


def _literals(pattern: str) -> set[str]:
    return set(re.sub("%.", "", pattern))


def _fits(pattern: str, cells: Sequence[str]) -> bool:
    form = TimeFormat(pattern)
    for part in (cells[:_TRIED], cells):
        if sum(is_time(cell, form) for cell in part) < MIN_SHARE * len(part):
            return False
    return True


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


def _sample(path: Path) -> bytes:
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
    return b"".join(lines)[: 4 * _SAMPLE]


def _is_in(path: Path, encoding: str) -> bool:
    """True if a whole file can be decoded."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in _chunks(path):
            decoder.decode(chunk)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def _chunks(path: Path) -> Iterator[bytes]:
    with open_binary(path) as file:
        while chunk := file.read(_CHUNK):
            yield chunk
