"""Cells of attributes: lists, paths of categories, and numbers that are written for people.

Each rule is here twice, as SQL for whole columns and in Python for single rows; both say the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from serendip.data.files.cells import strip_sql
from serendip.data.files.tables import Cell
from serendip.data.item import Attribute

DecimalSign = Literal[".", ","]
AttributeKind: TypeAlias = Literal["list", "number", "text"]

_NUMBER = r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?"
_GAPS = " '’\u00a0\u202f"
_AROUND = "[^0-9]{0,8}"
"""Currency, per cent or unit beside a number."""


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
        found = f"regexp_extract({text}, {quote(_written_number(sign))}, 1)"
        bare = f"regexp_replace({found}, {quote(_thousands(sign))}, '', 'g')"
        return f"TRY_CAST(replace({bare}, ',', '.') AS DOUBLE)"

    def _parse_number(self, name: str, text: str) -> float | None:
        if name not in self.decimals:
            return float(text)
        sign = self.decimals[name]
        found = re.match(_written_number(sign), text)
        if found is None:
            return None
        return float(re.sub(_thousands(sign), "", found[1]).replace(",", "."))


def _thousands(sign: DecimalSign) -> str:
    """Pattern of what may stand between thousands."""
    return f"[{'.' if sign == ',' else ','}{_GAPS}]"


def _written_number(sign: DecimalSign) -> str:
    """Pattern of a whole cell with one number, which is its first group."""
    whole = f"(?:[0-9]{{1,3}}(?:{_thousands(sign)}[0-9]{{3}})+|[0-9]{{1,15}})"
    fraction = f"(?:{re.escape(sign)}[0-9]{{1,9}})?"
    return f"^{_AROUND}?(-?{whole}{fraction}){_AROUND}$"


def quote(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"
