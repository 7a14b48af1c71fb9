"""What the columns of an items file are that have no canonical name: words, paths, numbers, ids.

The role of a column decides how it is read (a category path is split into its levels, a price with
a decimal comma becomes a number), and whether a text encoder reads it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from serendip.data.items.catalogue import Item
from serendip.files.config import ItemsConfig
from serendip.files.items import read_items
from serendip.files.names import is_called
from serendip.files.numbers import NARROW, DecimalSign, written_number_sql
from serendip.files.queries import evaluate
from serendip.jobs.init.cell_kinds import CURRENCY, MAJORITY, Kind, classify_cell, classify_column

SAMPLE_ROWS = 5_000
"""Number of rows whose cells are read."""

MAX_TEXT_FIELDS = 6
MIN_FILLED = 0.3
"""Minimum share of items with a value of an attribute for the attribute to be encoded."""

MIN_NUMBER_SHARE = 0.9
"""Minimum share of numbers among the filled cells of a column that is read as numbers."""

_KINDS: Mapping[Kind, str] = MappingProxyType(
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
"""A number as a program writes it."""
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
        fields: text fields to encode.
        notes: attribute -> what it is taken for, in words for people.
    """

    level_separators: Mapping[str, str]
    decimals: Mapping[str, DecimalSign]
    units: Mapping[str, str]
    fields: Sequence[str]
    notes: Mapping[str, str]


def attribute_names(items: Sequence[Item]) -> list[str]:
    """Attributes of the items, in order of first appearance."""
    return list(dict.fromkeys(name for item in items for name in item.attributes))


def attribute_cells(name: str, items: Sequence[Item]) -> list[str]:
    """Filled cells of an attribute; of a list, its first element."""
    values = [item.attributes.get(name, "") for item in items]
    firsts = [value[0] if isinstance(value, tuple) else value for value in values if value]
    return [
        cell
        for value in firsts
        if (cell := (value if isinstance(value, str) else f"{value:g}").strip())
    ]


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
    found = {named[0] if named else "" for named in map(_search_currency, cells)}
    return found.pop() if len(found) == 1 else ""


def _search_currency(cell: str) -> re.Match[str] | None:
    return _CURRENCY.search(cell.translate(NARROW))


def _describe_unread(cells: Sequence[str], sign: DecimalSign) -> str:
    """What the cells without a number are, in words for people; empty if all have one."""
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
    """Which cells are a number with a decimal sign and nothing beside it but a currency."""
    read = evaluate(cells, lambda text: written_number_sql(text, sign))
    return [
        number is not None and classify_cell(cell) == "number"
        for cell, number in zip(cells, read, strict=True)
    ]


def has_numbers(name: str, items: Sequence[Item]) -> bool:
    """Whether an attribute of some items is a number."""
    return any(isinstance(item.attributes.get(name), float) for item in items)


def choose_text_fields(items: Sequence[Item]) -> list[str]:
    """Fields to encode: title, description and attributes in natural language.

    Attributes of paths, links, addresses, codes, numbers (also prices such as "12,50 €") and dates
    are left out, and those that are mostly empty.
    """
    fields = [name for name in ("title", "description") if any(i.field_text(name) for i in items)]
    for name in attribute_names(items):
        cells = attribute_cells(name, items)
        if len(cells) >= MIN_FILLED * len(items) and not classify_column(name, cells):
            fields.append(name)
    return fields[:MAX_TEXT_FIELDS] or ["title"]


def find_quality_columns(items: Sequence[Item]) -> dict[str, str]:
    """Key of ``[quality]`` -> the first attribute of numbers with such a name."""
    found: dict[str, str] = {}
    for name in attribute_names(items):
        values = [item.attributes[name] for item in items if item.attributes.get(name) is not None]
        numbers = [value for value in values if isinstance(value, float)]
        if not numbers or len(numbers) < MIN_NUMBER_SHARE * len(values):
            continue
        if is_called(name, "rating"):
            found.setdefault("rating", name)
        elif is_called(name, "reviews") and all(number.is_integer() for number in numbers):
            found.setdefault("reviews", name)
    return found


def read_roles(
    config: ItemsConfig, folder: Path, currencies: Collection[str]
) -> tuple[Sequence[Item], AttributeRoles]:
    """The first items, and how their attributes are read.

    Args:
        config: of the items file, with its path and columns.
        folder: of the workspace.
        currencies: distinct values of columns of currencies, of all items of the file.
    """
    sample = read_items(config, folder).sample(SAMPLE_ROWS)
    cells = {name: attribute_cells(name, sample) for name in attribute_names(sample)}
    levels, decimals = dict[str, str](), dict[str, DecimalSign]()
    for name, own in cells.items():
        if separator := find_level_separator(name, own):
            levels[name] = separator
        is_text = any(isinstance(item.attributes.get(name), str) for item in sample)
        if is_text and (sign := find_decimal(own)):
            decimals[name] = sign
    units = {name: unit for name in decimals if (unit := find_unit(cells[name]))}
    unread = {name: _describe_unread(cells[name], sign) for name, sign in decimals.items()}
    if levels or decimals:
        config = config.model_copy(update={"level_separators": levels, "decimals": decimals})
        sample = read_items(config, folder).sample(SAMPLE_ROWS)
    if len(currencies) == 1 and _CURRENCY.fullmatch(unit := next(iter(currencies))):
        prices = [name for name in attribute_names(sample) if is_called(name, "price")]
        units = {name: unit for name in prices if has_numbers(name, sample)} | units
    fields = choose_text_fields(sample)
    notes = {}
    for name in attribute_names(sample):
        own = attribute_cells(name, sample)
        parts = [_describe_kind(name, own, sample)]
        if name in levels:
            parts = [f"path of categories, split at {levels[name]!r}"]
        elif name in decimals:
            parts.append(f"decimal sign {decimals[name]!r}")
        parts += [f"in {units[name]}"] if name in units else []
        parts += filter(None, [unread.get(name)])
        parts += [what for table, what in _NAMED.items() if is_called(name, table)]
        parts.append("encoded" if name in fields else "kept as it is")
        notes[name] = ", ".join(parts)
    return sample, AttributeRoles(levels, decimals, units, fields, notes)


def _describe_kind(name: str, cells: Sequence[str], items: Sequence[Item]) -> str:
    kind = classify_column(name, cells)
    if kind:
        return _KINDS[kind]
    is_list = any(isinstance(item.attributes.get(name), tuple) for item in items)
    filled = "" if len(cells) >= MIN_FILLED * len(items) else ", mostly empty"
    return f"{'lists of words' if is_list else 'words'}{filled}"
