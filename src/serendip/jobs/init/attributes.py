"""What the columns of an items file are that have no canonical name: words, paths, numbers, ids.

The role of a column decides how it is read (a category path is split into its levels, a price with
a decimal comma becomes a number), and whether a text encoder reads it: only natural language is
meant for one. Other cells would make items similar because their files are in one folder, and would
put email addresses into vectors.

What the actions of an events file say, likes, rejections or mere contact, is guessed by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self, TypeAlias

from serendip.data import ActionRules, Item
from serendip.data.events.event import Exclusion
from serendip.data.items.attributes import Attribute, is_code_name
from serendip.files.cells import NARROW, DecimalSign, evaluate, written_number_sql
from serendip.files.config import ItemsConfig
from serendip.files.items import read_items
from serendip.files.names import fold, is_called, names

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
    """Kind of the majority of a column's filled cells; a name such as ``sku`` marks ids."""
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
    if is_code_name(name):
        return True
    long = sum(len(cell.strip()) >= _MIN_CODE_LENGTH for cell in codes) > MAJORITY * len(cells)
    return long and len(set(cells)) >= MIN_DISTINCT_SHARE * len(cells) and len(cells) > 1


SAMPLE_ROWS = 5_000
MAX_TEXT_FIELDS = 6
MIN_FILLED = 0.3

MIN_NUMBER_SHARE = 0.9
"""Minimum share of numbers among the filled cells of a column that is read as numbers."""

_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "image": "paths of pictures",
        "sound": "paths of sounds",
        "path": "paths of files",
        "link": "links",
        "email": "addresses",
        "code": "ids or codes",
        "number": "numbers",
        "date": "dates",
    }
)

_LEVELS = (">", "›", "»", "→")
"""Signs that separate the levels of a path in any column; a slash does in those of categories."""

_CURRENCY = re.compile(CURRENCY)
_PLAIN = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")
_NAMED = {
    "price": "price",
    "stock": "stock",
    "country": "country",
    "rating": "mean rating",
    "reviews": "number of reviews",
}
"""Table of ``names.toml`` -> what its attributes are, in words for people."""


@dataclass(frozen=True, slots=True)
class AttributeRoles:
    """How the attributes of an items file are read.

    Args:
        level_separators: attribute -> what separates the levels of its category path.
        decimals: attribute -> decimal sign of its numbers, if they are written for people.
        units: attribute -> currency of all its numbers.
        notes: attribute -> what it is taken for, in words for people.
    """

    level_separators: Mapping[str, str]
    decimals: Mapping[str, DecimalSign]
    units: Mapping[str, str]
    fields: Sequence[str]
    notes: Mapping[str, str]


@dataclass(frozen=True)
class SampleColumn:
    """An attribute of the first items of a file; None = an item has none."""

    name: str
    values: Sequence[Attribute | None]

    @classmethod
    def list_of(cls, items: Sequence[Item]) -> list[Self]:
        """The attributes of items, in order of first appearance."""
        names = dict.fromkeys(name for item in items for name in item.attributes)
        return [cls(name, [item.attributes.get(name) for item in items]) for name in names]

    @cached_property
    def cells(self) -> list[str]:
        """Filled cells; of a list, its first element."""
        firsts = [value[0] if isinstance(value, tuple) else value for value in self.values if value]
        texts = (value if isinstance(value, str) else f"{value:g}" for value in firsts)
        return [cell for cell in map(str.strip, texts) if cell]

    @cached_property
    def kind(self) -> Kind:
        """See ``classify_column``."""
        return classify_column(self.name, self.cells)

    @property
    def is_filled(self) -> bool:
        """Whether enough items have it."""
        return len(self.cells) >= MIN_FILLED * len(self.values)

    def holds(self, kind: type) -> bool:
        """Whether a value is of this type."""
        return any(isinstance(value, kind) for value in self.values)

    def is_called(self, *tables: str) -> bool:
        """Whether it has a name of one of these tables of ``names.toml``."""
        return any(is_called(self.name, table) for table in tables)

    def describe(self) -> str:
        """What it is, in words for people."""
        words = "lists of words" if self.holds(tuple) else "words"
        return _KINDS.get(self.kind) or f"{words}{'' if self.is_filled else ', mostly empty'}"


def find_level_separator(name: str, cells: Sequence[str]) -> str:
    """The sign that most cells are split by; empty = they are no paths of categories."""
    signs = (*_LEVELS, "/") if is_called(name, "category") else _LEVELS
    for sign in signs:
        if sum(_has_levels(cell, sign) for cell in cells) > MAJORITY * len(cells):
            return sign
    return ""


def _has_levels(cell: str, sign: str) -> bool:
    """True for two words or more around a sign; a slash may begin the cell, a file has a suffix."""
    parts = [part.strip() for part in cell.strip("/ ").split(sign)]
    is_file = sign == "/" and re.search(r"\.\w{1,5}$|//", cell) is not None
    return len(parts) > 1 and all(re.search(r"[^\W\d_]", part) for part in parts) and not is_file


def find_unit(cells: Iterable[str]) -> str:
    """The currency that all cells name; empty = they do not name the same one."""
    matches = (_CURRENCY.search(cell.translate(NARROW)) for cell in cells)
    found = {named[0] if named else "" for named in matches}
    return found.pop() if len(found) == 1 else ""


def _describe_unread(cells: Sequence[str], sign: DecimalSign) -> str:
    are_read = zip(cells, _are_read(cells, sign), strict=True)
    odd = [cell for cell, is_read in are_read if not is_read]
    return f"{len(odd):,} of {len(cells):,} cells are none, as {odd[0][:20]!r}" if odd else ""


def find_decimal(cells: Sequence[str]) -> DecimalSign | None:
    """Decimal sign of a column of numbers; None = it has none, or they need no reading.

    A column is left alone if a number begins with a 0 that counts nothing, as ids do, or if all are
    written as a program writes them.
    """
    if all(_PLAIN.fullmatch(cell) for cell in cells):
        return None
    signs: tuple[DecimalSign, ...] = (".", ",")
    counts = {sign: sum(_are_read(cells, sign)) for sign in signs}
    most = max(counts.values())
    if most < MIN_NUMBER_SHARE * len(cells) or any(re.match(r"-?0\d", cell) for cell in cells):
        return None
    best = [sign for sign in signs if counts[sign] == most]
    if len(best) == 2:  # only thousands, or none
        return (
            "." if any("," in cell for cell in cells) or not any("." in c for c in cells) else ","
        )
    return best[0]


def _are_read(cells: Sequence[str], sign: DecimalSign) -> list[bool]:
    read = evaluate(cells, lambda text: written_number_sql(text, sign))
    return [
        number is not None and classify_cell(cell) == "number"
        for cell, number in zip(cells, read, strict=True)
    ]


def choose_text_fields(items: Sequence[Item]) -> list[str]:
    """Fields to encode: title, description and attributes in natural language.

    Attributes of paths, links, addresses, codes, numbers (also prices such as "12,50 €") and dates
    are left out, and those that are mostly empty.
    """
    fields = [name for name in ("title", "description") if any(i.field_text(name) for i in items)]
    columns = SampleColumn.list_of(items)
    fields += [column.name for column in columns if column.is_filled and not column.kind]
    return fields[:MAX_TEXT_FIELDS] or ["title"]


def find_quality_columns(columns: Iterable[SampleColumn]) -> dict[str, str]:
    """Key of ``[quality]`` -> the first attribute of numbers with such a name."""
    found: dict[str, str] = {}
    for column in columns:
        values = [value for value in column.values if value is not None]
        numbers = [value for value in values if isinstance(value, float)]
        if not numbers or len(numbers) < MIN_NUMBER_SHARE * len(values):
            continue
        if column.is_called("rating"):
            found.setdefault("rating", column.name)
        elif column.is_called("reviews") and all(number.is_integer() for number in numbers):
            found.setdefault("reviews", column.name)
    return found


def read_roles(config: ItemsConfig, folder: Path) -> tuple[Sequence[Item], AttributeRoles]:
    """The first items, and how their attributes are read."""
    sample = read_items(config, folder).sample(SAMPLE_ROWS)
    levels, decimals, units = dict[str, str](), dict[str, DecimalSign](), dict[str, str]()
    unread = dict[str, str]()
    for column in SampleColumn.list_of(sample):
        if separator := find_level_separator(column.name, column.cells):
            levels[column.name] = separator
        if column.holds(str) and (sign := find_decimal(column.cells)):
            decimals[column.name] = sign
            unread[column.name] = _describe_unread(column.cells, sign)
            units |= {column.name: unit} if (unit := find_unit(column.cells)) else {}
    if levels or decimals:
        config = config.model_copy(update={"level_separators": levels, "decimals": decimals})
        sample = read_items(config, folder).sample(SAMPLE_ROWS)
    columns, fields, notes = SampleColumn.list_of(sample), choose_text_fields(sample), {}
    for column in columns:
        name, parts = column.name, [column.describe()]
        if name in levels:
            parts = [f"path of categories, split at {levels[name]!r}"]
        elif name in decimals:
            parts.append(f"decimal sign {decimals[name]!r}")
        parts += [f"in {units[name]}"] if name in units else []
        parts += filter(None, [unread.get(name)])
        parts += [what for table, what in _NAMED.items() if column.is_called(table)]
        parts.append("encoded" if name in fields else "kept as it is")
        notes[name] = ", ".join(parts)
    return sample, AttributeRoles(levels, decimals, units, fields, notes)


_REACH: Mapping[Exclusion, str] = MappingProxyType(
    {
        "everywhere": "negative: the item is never shown to that user again",
        "recommendations": "negative: the item is not recommended to that user again",
        "seen": "negative: the item counts as seen",
        "nowhere": "negative: no interest",
    }
)

_MOST_ACTIONS = 100
"""A column with more distinct values is no kind of interaction."""


@dataclass(frozen=True, slots=True)
class ActionRoles:
    """What the actions of an events file are taken for.

    Args:
        negative: action -> where its item is excluded for the user.
        likes: actions that are likes whatever their value.
    """

    negative: Mapping[str, Exclusion]
    likes: Sequence[str]
    neutral: Sequence[str]

    @classmethod
    def of(cls, actions: Iterable[str]) -> Self:
        """Guess by the names, whatever their case and punctuation."""
        rules = ActionRules()
        found = sorted(set(actions) - set(rules.ignore))
        if len(found) > _MOST_ACTIONS:
            return cls({}, (), ())
        negative = {
            name: reach
            for name in found
            for reach, known in names("actions")["negative"].items()
            if fold(name) in known
        }
        likes = [name for name in found if fold(name) in names("actions")["like"]]
        neutral = [name for name in found if name not in negative and name not in likes]
        return cls(negative, likes, neutral)

    def notes(self) -> dict[str, str]:
        """Action -> what it is taken for, in words for people; negative ones first."""
        return {
            **{name: _REACH[reach] for name, reach in self.negative.items()},
            **dict.fromkeys(self.likes, "a like"),
            **dict.fromkeys(self.neutral, "interest"),
        }
