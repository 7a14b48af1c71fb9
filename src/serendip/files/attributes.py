"""SQL of the cells of attributes: lists, paths of categories, and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
from serendip.files.cells import quote, strip_sql
from serendip.files.numbers import DecimalSign, written_number_sql

AttributeKind: TypeAlias = Literal["list", "number", "text"]

_NUMBER = r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?"


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

    def kind(self, name: str, is_list: bool, is_number: bool) -> AttributeKind:
        """Kind of an attribute: what the settings say, else what its cells are."""
        if name in self.level_separators:
            return "list"
        if name in self.decimals:
            return "number"
        return "list" if is_list else "number" if is_number else "text"

    def split_levels(self, item: Item) -> Item:
        """An item from elsewhere whose paths of categories are lists of their levels."""
        levels = {
            name: tuple(filter(None, map(str.strip, separator.join(parts).split(separator))))
            for name, separator in self.level_separators.items()
            if (parts := self._parts(item.attributes.get(name)))
        }
        return replace(item, attributes={**item.attributes, **levels}) if levels else item

    def _parts(self, value: Attribute | None) -> Sequence[str]:
        if isinstance(value, tuple):
            return value
        if not isinstance(value, str):
            return ()
        return value.split(self.list_separator) if self.list_separator else [value]

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
        if name in self.decimals:
            return written_number_sql(text, self.decimals[name])
        if kind == "number":
            return f"CAST(nullif({text}, '') AS DOUBLE)"
        split = f"string_split({text}, {quote(self.list_separator)})"
        parts = split if self.list_separator else f"[{text}]"
        parts = f"coalesce({stored}, {parts})" if stored else parts
        if name in self.level_separators:
            levels = f"string_split(x, {quote(self.level_separators[name])})"
            parts = f"flatten(list_transform({parts}, lambda x: {levels}))"
        stripped = f"list_transform({parts}, lambda x: {strip_sql('x')})"
        return f"nullif(list_filter({stripped}, lambda x: x <> ''), [])"
