"""Classifies columns of an items file: natural language, or paths, links, ids, numbers, dates.

Only natural language is meant for a text encoder. Other cells would make items similar because
their files are in one folder, and would put email addresses into vectors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from serendip.files.names import names
from serendip.files.numbers import NARROW

Kind: TypeAlias = Literal["image", "sound", "path", "link", "email", "code", "number", "date", ""]
"""Kind of a cell or column; empty = natural language."""

MAJORITY = 0.5
"""A column has a kind if more than this share of its filled cells has it."""

MIN_DISTINCT_SHARE = 0.9
"""Share of distinct values from which on codes are ids rather than sizes such as 128GB."""

_CURRENCIES = names("currencies")
CURRENCY = (
    rf"(?:[{_CURRENCIES['signs']}]|{'|'.join((*_CURRENCIES['codes'], *_CURRENCIES['words']))})"
)
"""Pattern of a currency; any three letters before digits would be codes as well."""

_DIGITS = rf"{CURRENCY}?\s*[-+−]?\s*{CURRENCY}?\s*\d[\d.,'’\s]*(?:{CURRENCY}|%)?-?"
_NUMBER = re.compile(rf"{_DIGITS}|\({_DIGITS}\)")


def _file_pattern(kind: str) -> str:
    return rf"[^\n?*<>|]*[^\s/\\]\.(?:{'|'.join(names('endings')[kind])})"


_IMAGE = re.compile(_file_pattern("image"), re.IGNORECASE)
_SOUND = re.compile(_file_pattern("sound"), re.IGNORECASE)
_PATH = re.compile(
    rf"{_file_pattern('path')}"
    r"|(?:~|\.{1,2}|[a-z]:)?[/\\]\S+"
    r"|[^\s/\\]+(?:[/\\][^\s/\\]+)+\.\w{1,5}",
    re.IGNORECASE,
)
_LINK = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?//\S+|www\.\S+|(?:data|mailto|urn|tel):\S+"
    r"|(?:[\w-]+\.)+[a-z]{2,}/\S*",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"(?:[^@<>]*<)?[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+>?")
_HASH = re.compile(
    r"(?=\S*\d)[0-9a-f]{16,}|\{?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?|#[0-9a-f]{6}"
    r"|(?=\S*\d)(?=\S*[a-z])[\w+/=-]{20,}",
    re.IGNORECASE,
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s*[ap]m)?"
_DATE = re.compile(
    rf"(?:\d{{4}}[-/.]\d{{1,2}}(?:[-/.]\d{{1,2}})?|\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}}"
    rf"|(?:\d{{1,2}}\.?\s+)?{_MONTH}\s+(?:\d{{1,2}},?\s+)?\d{{4}}|\d{{8}}(?=T))"
    rf"(?:[T\s]\s*{_CLOCK}|T\d{{4,6}})?\s*(?:Z|UTC|[+-]\d{{2}}:?\d{{2}})?|{_CLOCK}",
    re.IGNORECASE,
)
_CODE = re.compile(r"(?=\S*\d)[\w.:#-]+")
_MIN_CODE_LENGTH = 5
_MAX_LENGTH = 500
"""Characters of a cell that are classified; enough for the start of a ``data:`` link."""

_PATTERNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    *(("number", _NUMBER), ("date", _DATE), ("link", _LINK), ("email", _EMAIL)),
    *(("image", _IMAGE), ("sound", _SOUND), ("path", _PATH), ("code", _HASH)),
)


def classify_cell(cell: str) -> Kind:
    """Kind of one cell; short codes are recognised by column only."""
    text = cell.strip()[:_MAX_LENGTH].translate(NARROW)
    return next((kind for kind, pattern in _PATTERNS if pattern.fullmatch(text)), "")


def classify_column(name: str, cells: Sequence[str]) -> Kind:
    """Kind of the majority of a column's filled cells.

    Args:
        name: of the column; a name such as ``sku`` marks ids.
        cells: filled ones only.
    """
    kinds = [classify_cell(cell) for cell in cells]
    for kind in dict.fromkeys(kinds):
        if kind and kinds.count(kind) > MAJORITY * len(cells):
            return kind
    if sum(map(bool, kinds)) > MAJORITY * len(cells):
        return "code"
    return "code" if _holds_codes(name, cells) else ""


def _holds_codes(name: str, cells: Sequence[str]) -> bool:
    """True if most cells are codes, and the name or their variety says that they are ids."""
    codes = [cell for cell in cells if _CODE.fullmatch(cell.strip())]
    if len(codes) <= MAJORITY * len(cells):
        return False
    if _last_word(name) in names("attributes")["code"]:
        return True
    long = sum(len(cell.strip()) >= _MIN_CODE_LENGTH for cell in codes) > MAJORITY * len(cells)
    return long and len(set(cells)) >= MIN_DISTINCT_SHARE * len(cells) and len(cells) > 1


def _last_word(name: str) -> str:
    """``productId``, ``product_id`` and ``Product ID`` all end in ``id``."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name)
    return words[-1].casefold() if words else ""
