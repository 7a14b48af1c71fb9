"""Guesses the encoding of a text file."""

from __future__ import annotations

import codecs
from collections import deque
from pathlib import Path

from serendip.errors import DataError
from serendip.files.encodings import decode_file, open_binary
from serendip.files.names import names
from serendip.files.tables import CSV_SUFFIXES, JSON_SUFFIXES

_SAMPLE = 1 << 16
"""Bytes of lines that are not ASCII, from which an encoding is told."""
_UTF8_SHARE, _OTHER_SHARE = 0.9, 0.2
"""Share of these lines that are UTF-8: from the first on the file is, up to the second it is not;
some characters of other encodings are UTF-8, too."""
_SURE = 200
"""Bytes that are not ASCII from which on an encoding is more than a guess."""


def guess_encoding(path: Path, first: str = "") -> str:
    """The encoding of a CSV or JSON file; empty = UTF-8, or a file of another type.

    A file of which few lines are broken is UTF-8: its import names these lines.

    Args:
        path: the file.
        first: the encoding of a file of the same source, which counts before all others.

    Raises:
        DataError: it is not UTF-8 and no known encoding fits, or it is UTF-8 in part.
    """
    if not path.name.lower().removesuffix(".gz").endswith((*CSV_SUFFIXES, *JSON_SUFFIXES)):
        return ""
    if _has_mark(path):
        return "utf-16"
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
    for name in (first, *_rank(b"".join(lines)[: 4 * _SAMPLE])):
        if name and _is_in(path, name):
            return name
    raise DataError(
        f"{path.name} is not UTF-8, and its encoding cannot be told.", "Add --encoding NAME."
    )


def is_sure(path: Path) -> bool:
    """True if a text file has a byte order mark, or enough letters that tell its encoding."""
    return _has_mark(path) or sum(byte > 127 for byte in b"".join(_sample(path))) >= _SURE


def _has_mark(path: Path) -> bool:
    with open_binary(path) as file:
        return bool(file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def _rank(sample: bytes) -> list[str]:
    """Known encodings of a text, the most plausible first."""
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
    """The first lines with letters that are not ASCII."""
    lines, size = list[bytes](), 0
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
    try:
        deque(decode_file(path, encoding), maxlen=0)
    except DataError:
        return False
    return True
