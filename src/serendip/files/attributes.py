"""SQL of the cells of attributes: lists, paths of categories, and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from serendip.data.items.attributes import Attribute, AttributeKind
from serendip.files.cells import DecimalSign, quote, read_number, strip_sql, written_number_sql

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

    def read_posted(
        self,
        attributes: Mapping[str, Attribute],
        kind_of: Callable[[str], AttributeKind] | None = None,
    ) -> dict[str, Attribute]:
        """Attributes of a posted item as those of the file are read.

        Args:
            attributes: as posted; a list is read further only if it is a path.
            kind_of: name of an attribute -> its kind in the catalogue; None = it has none.
        """
        read = {
            name: self._read(name, value, "text" if kind_of is None else kind_of(name))
            if isinstance(value, str | tuple)
            else value
            for name, value in attributes.items()
        }
        return {name: value for name, value in read.items() if value is not None}

    def _read(
        self, name: str, value: str | tuple[str, ...], known: AttributeKind
    ) -> Attribute | None:
        if isinstance(value, str):
            kind = self.kind(name, known == "list", known == "number")
            if kind == "number":
                number = read_number(value, self.decimals.get(name, "."))
                return value if number is None and name not in self.decimals else number
            if kind == "text":
                return value
            value = tuple(value.split(self.list_separator)) if self.list_separator else (value,)
        elif name not in self.level_separators:
            return value
        if separator := self.level_separators.get(name):
            value = tuple(separator.join(value).split(separator))
        return tuple(filter(None, map(str.strip, value))) or None

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
