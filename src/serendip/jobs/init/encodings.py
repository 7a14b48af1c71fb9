"""Guesses the encoding of a text file."""

from __future__ import annotations

import codecs
from pathlib import Path

from serendip.errors import DataError
from serendip.files.encodings import open_binary
from serendip.files.names import names
from serendip.files.tables import CSV_SUFFIXES, JSON_SUFFIXES

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
