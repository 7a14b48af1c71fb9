"""Queries of DuckDB over users' files, and SQL of their cells: texts, numbers, lists, paths."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from serendip.data.items.attributes import Attribute, AttributeKind
from serendip.errors import DataError
from serendip.files.names import names
from serendip.runtime.threads import num_threads

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The last white space of Unicode is U+3000; to look further took 0.05 s of every start.
_WHITESPACE = "".join(sign for sign in map(chr, range(0x3001)) if sign.isspace())


@dataclass(frozen=True, slots=True)
class CellSql:
    """SQL of the cells of one column.

    Args:
        text: VARCHAR; NULL if the cell is empty or a list.
        items: VARCHAR[]; NULL if the cell is not a list. Empty = no cell is.
        number: DOUBLE of a cell that is a number in the file; empty = it is none.
    """

    text: str
    items: str = ""
    number: str = ""


def text_sql(cell: CellSql) -> str:
    """The cell as one text, never NULL; the texts of a list are joined."""
    joined = ""
    if cell.items:
        joined = f"array_to_string(list_filter({cell.items}, lambda x: x <> ''), ', '), "
    return f"coalesce({cell.text}, {joined}'')"


def strip_sql(text: str) -> str:
    """A text without the white space at both ends, as ``str.strip`` has it."""
    return f"trim({text}, '{_WHITESPACE}')"


def number_sql(text: str) -> str:
    """DOUBLE of a text; NULL if it is no finite number."""
    number = f"TRY_CAST({text} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def quote(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def connect() -> DuckDBPyConnection:
    """Open a connection to DuckDB with temporary tables of its own; it downloads no extensions."""
    return _database(num_threads()).cursor()


@cache
def _database(threads: int) -> DuckDBPyConnection:
    import duckdb  # opening one takes longer than reading a small file

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "autoinstall_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=settings)


def run(connection: DuckDBPyConnection, query: str, path: Path) -> DuckDBPyConnection:
    """Run a query with one placeholder for the path over a file.

    Raises:
        DataError: the file cannot be read.
    """
    import duckdb

    try:
        return connection.execute(query, [pattern_of(path)])
    except (duckdb.Error, MemoryError) as error:
        raise unreadable(path, error) from None


def pattern_of(path: Path) -> str:
    """The path as a glob pattern, which DuckDB reads; a bracketed wildcard matches itself."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))


def unreadable(path: Path, error: BaseException) -> DataError:
    """The error of a file that DuckDB could not read."""
    too_large = ("Out of Memory", "maximum total string size")
    if isinstance(error, MemoryError) or any(words in str(error) for words in too_large):
        return DataError(
            f"{path.name} does not fit into memory.",
            "Leave columns and rows out of it, or give this process more memory.",
        )
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return DataError(
        f"{path.name} cannot be read: {reason}.", "Does its format match its file extension?"
    )


def evaluate(cells: Sequence[str], make_sql: Callable[[str], str]) -> list[Any]:
    """Values of the SQL that is made of the SQL of a text, for some cells, in their order."""
    import pyarrow as pa

    connection = connect()
    connection.register("cells", pa.table({"cell": pa.array(cells, "string")}))
    found = connection.sql(f"SELECT {make_sql('cell')} FROM cells").fetchall()
    return [value for (value,) in found]


DecimalSign: TypeAlias = Literal[".", ","]

_WIDE = "".join(map(chr, (*range(0xFF01, 0xFF5F), *range(0xFFE0, 0xFFE2), 0xFFE5, 0xFFE6)))
_NARROW = unicodedata.normalize("NFKC", _WIDE)
NARROW = str.maketrans(_WIDE, _NARROW)  # as NFKC does
_BLANKS = " \u00a0\u202f"
_GAPS = f"{_BLANKS}'’"
_MINUS = r"\-−－–"
_SIGNED = rf"0-9()（）‐‑‒—{_MINUS}"  # digits, and signs of negative numbers
_AROUND = rf"[^{_SIGNED}]{{0,8}}"  # currency, per cent or unit beside a number
# The same before a number; a decimal sign there would be that of one without whole digits.
_BEFORE = rf"(?:[^{_SIGNED}]{{0,7}}(?:[^{_SIGNED}.,]|[A-Za-z]\.))?"
_NO_FRACTION = "[.,](?:--?|[–—])"  # of a whole price, as in ``5,-``
_NEGATIVE = rf"[{_MINUS}]|\(\)"  # one minus, or parentheses


def written_number_sql(text: str, sign: DecimalSign) -> str:
    """DOUBLE of a text with one number, without currency, per cent and thousands; else NULL.

    The sign is before its decimals.
    """
    text = f"translate({text}, {quote(_WIDE)}, {quote(_NARROW)})"
    plain, signed = map(quote, _patterns(sign))
    begin, found, end = (f"regexp_extract({text}, {signed}, {group})" for group in (1, 2, 3))
    is_negative = f"regexp_full_match({begin} || {end}, {quote(_NEGATIVE)})"
    whole = f"regexp_extract({text}, {plain}, 1)"
    return (
        f"CASE WHEN {whole} <> '' THEN {_cast_sql(whole, sign)} "
        f"WHEN {is_negative} THEN -{_cast_sql(found, sign)} END"
    )


def read_number(text: str, sign: DecimalSign) -> float | None:
    """The number that ``written_number_sql`` reads, of one text."""
    text = text.strip().translate(NARROW)
    plain, signed = _patterns(sign)
    if found := re.search(plain, text):
        return _cast(found[1], sign)
    found = re.search(signed, text)
    is_negative = found and re.fullmatch(_NEGATIVE, (found[1] or "") + (found[3] or ""))
    return -_cast(found[2], sign) if found and is_negative else None


def _cast(number: str, sign: DecimalSign) -> float:
    return float(re.sub(_thousands(sign), "", number).replace(",", "."))


def _cast_sql(number: str, sign: DecimalSign) -> str:
    bare = f"regexp_replace({number}, {quote(_thousands(sign))}, '', 'g')"
    return f"TRY_CAST(replace({bare}, ',', '.') AS DOUBLE)"


def _thousands(sign: DecimalSign) -> str:
    return f"[{'.' if sign == ',' else ','}{_GAPS}]"


@cache
def _patterns(sign: DecimalSign) -> tuple[str, str]:
    """Patterns of a whole cell with one number: without a minus, and with one or parentheses.

    The first group of the first is the number; of the second it is the second group, between the
    signs before and behind it.
    """
    currency = (
        rf"[{_BLANKS}]*[A-Za-zÀ-ž円元원]{{0,3}}\.?[{names('currencies')['signs']}]?[{_BLANKS}]*"
    )
    whole = f"(?:[1-9][0-9]{{0,2}}(?:{_thousands(sign)}[0-9]{{3}})+|[0-9]{{1,15}})"
    number = f"({whole}(?:{re.escape(sign)}[0-9]{{1,9}})?)(?:{_NO_FRACTION})?"
    begin = rf"(?:{currency}([{_MINUS}(]))?{currency}"
    end = rf"(?:{currency}%?([{_MINUS})]){currency}|{_AROUND})"
    return f"^{_BEFORE}{number}{_AROUND}$", f"^{begin}{number}{end}$"


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

        A list is read further only if it is a path; without ``kind_of`` no attribute has a kind.
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

        ``stored`` are the cells that are lists in the file; empty = none are.
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
