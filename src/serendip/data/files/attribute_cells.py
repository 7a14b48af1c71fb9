"""Cells of attributes: lists, paths of categories, and numbers that are written for people.

Each rule is here twice, as SQL for whole columns and in Python for single rows; both say the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from serendip.data.files.cells import strip_sql
from serendip.data.files.tables import Cell
from serendip.data.items.catalogue import Attribute, Item

DecimalSign = Literal[".", ","]
AttributeKind: TypeAlias = Literal["list", "number", "text"]

_WIDE = "".join(map(chr, (*range(0xFF01, 0xFF5F), *range(0xFFE0, 0xFFE2), 0xFFE5, 0xFFE6)))
_NARROW = unicodedata.normalize("NFKC", _WIDE)
NARROW = str.maketrans(_WIDE, _NARROW)
"""Full-width digits, signs and currencies -> those that NFKC makes of them."""

_NUMBER = r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?"
_BLANKS = " \u00a0\u202f"
_GAPS = f"{_BLANKS}'’"
_MINUS = r"\-−－–"
_SIGNED = rf"0-9()（）‐‑‒—{_MINUS}"
"""Digits, and the signs that may say that a number is negative, for a class of characters."""
_AROUND = rf"[^{_SIGNED}]{{0,8}}"
"""Currency, per cent or unit beside a number."""
_BEFORE = rf"(?:[^{_SIGNED}]{{0,7}}(?:[^{_SIGNED}.,]|[A-Za-z]\.))?"
"""The same before a number; a decimal sign there would be that of a number without whole digits."""
_CURRENCY = rf"[{_BLANKS}]*[A-Za-zÀ-ž円元원]{{0,3}}\.?[$€£¥₩₹₽₺₫₱₪฿]?[{_BLANKS}]*"
"""What may stand between a number and its minus or parenthesis, or on the other side of these."""
_NO_FRACTION = "[.,](?:--?|[–—])"
"""Of a whole price, as in ``5,-``."""
_NEGATIVE = rf"[{_MINUS}]|\(\)"
"""Signs around a negative number: one minus, or parentheses."""


@dataclass(frozen=True, slots=True)
class AttributeCells:
    """How the cells of attributes are read.

    Args:
        list_separator: splits cells into lists; empty = never.
        level_separators: attribute -> what separates the levels of its paths.
        decimals: attribute -> decimal sign of its numbers.
    """

    list_separator: str
    level_separators: Mapping[str, str] = field(default_factory=dict)
    decimals: Mapping[str, DecimalSign] = field(default_factory=dict)

    def kind(self, name: str) -> AttributeKind | None:
        """The kind that the settings say; None = the cells decide."""
        if name in self.level_separators:
            return "list"
        return "number" if name in self.decimals else None

    def split_levels(self, item: Item) -> Item:
        """An item whose paths of categories are lists of their levels."""
        paths = {
            name: self._split(name, value)
            for name in self.level_separators
            if isinstance(value := item.attributes.get(name), str | tuple)
        }
        levels = {name: value for name, value in paths.items() if value is not None}
        return replace(item, attributes={**item.attributes, **levels}) if levels else item

    def kind_sql(self, text: str, stored: str) -> tuple[str, str]:
        """SQL of whether any cell of a column is a list, and whether all are numbers.

        Args:
            text: the cells as text.
            stored: the cells that are lists in the file; empty = none are.
        """
        lists = [f"{stored} IS NOT NULL"] if stored else []
        if self.list_separator:
            lists.append(f"contains({text}, {quote(self.list_separator)})")
        is_number = f"{text} = '' OR regexp_full_match({text}, '{_NUMBER}')"
        return (
            f"coalesce(bool_or({' OR '.join(lists) or 'false'}), false)",
            f"coalesce(bool_and({is_number}), true)",
        )

    def value_sql(self, name: str, kind: AttributeKind, text: str, stored: str) -> str:
        """SQL of an attribute's value, NULL where there is none; arguments as in ``kind_sql``."""
        if kind == "text":
            return f"nullif({text}, '')"
        if kind == "number":
            return self._number_sql(name, text)
        split = f"string_split({text}, {quote(self.list_separator)})"
        parts = split if self.list_separator else f"[{text}]"
        parts = f"coalesce({stored}, {parts})" if stored else parts
        if name in self.level_separators:
            levels = f"string_split(x, {quote(self.level_separators[name])})"
            parts = f"flatten(list_transform({parts}, lambda x: {levels}))"
        stripped = f"list_transform({parts}, lambda x: {strip_sql('x')})"
        return f"list_filter({stripped}, lambda x: x <> '')"

    def parse(self, name: str, kind: AttributeKind, cell: Cell) -> Attribute | None:
        """The value of one cell, as the SQL has it; None = there is none.

        Raises:
            ValueError: the cell of a column of plain numbers is none.
        """
        if kind == "list":
            return self._split(name, cell)
        text = (cell if isinstance(cell, str) else ", ".join(cell)).strip()
        if not text:
            return None
        return self._parse_number(name, text) if kind == "number" else text

    def _split(self, name: str, cell: Cell) -> tuple[str, ...] | None:
        parts = [cell] if isinstance(cell, str) else list(cell)
        if isinstance(cell, str) and self.list_separator:
            parts = cell.split(self.list_separator)
        if name in self.level_separators:
            separator = self.level_separators[name]
            parts = [level for part in parts for level in part.split(separator)]
        return tuple(value for value in (part.strip() for part in parts) if value) or None

    def _number_sql(self, name: str, text: str) -> str:
        if name not in self.decimals:
            return f"CAST(nullif({text}, '') AS DOUBLE)"
        sign = self.decimals[name]
        text = f"translate({text}, {quote(_WIDE)}, {quote(_NARROW)})"
        plain, signed = map(quote, _written_numbers(sign))
        begin, found, end = (f"regexp_extract({text}, {signed}, {group})" for group in (1, 2, 3))
        is_negative = f"regexp_full_match({begin} || {end}, {quote(_NEGATIVE)})"
        whole = f"regexp_extract({text}, {plain}, 1)"
        return (
            f"CASE WHEN {whole} <> '' THEN {_cast_sql(whole, sign)} "
            f"WHEN {is_negative} THEN -{_cast_sql(found, sign)} END"
        )

    def _parse_number(self, name: str, text: str) -> float | None:
        if name not in self.decimals:
            return float(text)
        sign, text = self.decimals[name], text.translate(NARROW)
        plain, signed = _written_numbers(sign)
        if found := re.match(plain, text):
            return _cast(found[1], sign)
        found = re.match(signed, text)
        if found and re.fullmatch(_NEGATIVE, (found[1] or "") + (found[3] or "")):
            return -_cast(found[2], sign)
        return None


def _cast_sql(number: str, sign: DecimalSign) -> str:
    bare = f"regexp_replace({number}, {quote(_thousands(sign))}, '', 'g')"
    return f"TRY_CAST(replace({bare}, ',', '.') AS DOUBLE)"


def _cast(number: str, sign: DecimalSign) -> float:
    return float(re.sub(_thousands(sign), "", number).replace(",", "."))


def _thousands(sign: DecimalSign) -> str:
    """Pattern of what may stand between thousands."""
    return f"[{'.' if sign == ',' else ','}{_GAPS}]"


def _written_numbers(sign: DecimalSign) -> tuple[str, str]:
    """Patterns of a whole cell with one number: without a minus, and with one or parentheses.

    The first group of the first is the number; of the second it is the second group, between the
    signs before and behind it.
    """
    whole = f"(?:[1-9][0-9]{{0,2}}(?:{_thousands(sign)}[0-9]{{3}})+|[0-9]{{1,15}})"
    number = f"({whole}(?:{re.escape(sign)}[0-9]{{1,9}})?)(?:{_NO_FRACTION})?"
    begin = rf"(?:{_CURRENCY}([{_MINUS}(]))?{_CURRENCY}"
    end = rf"(?:{_CURRENCY}%?([{_MINUS})]){_CURRENCY}|{_AROUND})"
    return f"^{_BEFORE}{number}{_AROUND}$", f"^{begin}{number}{end}$"


def quote(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"
