"""Items in columns: an Arrow IPC file that is memory-mapped, and the items made from its rows.

Texts are read when an item is shown; nothing is read to open a table. Attributes have a column for
each of their kinds (``AttributeValues``); the names and kinds of an item's attributes, in its own
order, are its layout, which also marks generated ones; few layouts serve a whole catalogue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, IntArray, TimeArray
from serendip.data.items.attributes import (
    Attribute,
    AttributeKind,
    AttributeValues,
)
from serendip.data.limits import MAX_ENCODED_FIELD_CHARS
from serendip.data.moment import Moment, format_moment
from serendip.data.rows.arrow import to_arrow
from serendip.data.rows.strings import Strings
from serendip.errors import require_readable

_CACHED_WORDS = 16_384  # items whose words are kept: those that requests show
_TEXTS = ("item_id", "title", "description", "generated_text")

_Layout: TypeAlias = tuple[
    tuple[str, AttributeKind] | tuple[str, AttributeKind, Literal["generated"]], ...
]


@dataclass(frozen=True, slots=True)
class Item:
    """An item that can be found and recommended.

    Args:
        item_id: external id, unique.
        title: as shown; empty if unknown.
        description: longer text; empty if there is none.
        attributes: further columns: text, numbers or lists of texts (year, genres, brand).
        available_from: Unix seconds from which it may be shown; None = always.
        generated_text: active generated text; searched and encoded, but never shown, and not part
            of the catalogue's own text.
        generated_attributes: names of the attributes whose values are generated ones in use: the
            catalogue itself has none for this item.
    """

    item_id: str
    title: str = ""
    description: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    available_from: Moment | None = None
    generated_text: str = ""
    generated_attributes: tuple[str, ...] = ()

    def field_text(self, name: str) -> str:
        """The text of one field; numbers without a trailing .0, lists joined by commas."""
        if name in ("title", "description"):
            return str(getattr(self, name))
        value = self.attributes.get(name, "")
        if isinstance(value, float):
            return f"{value:g}" if value != int(value) else str(int(value))
        return ", ".join(value) if isinstance(value, tuple) else value

    def fields(self, names: Iterable[str]) -> dict[str, Attribute]:
        """Those of some attributes, of ``description`` and of ``available_from`` that it has."""
        own = {"description": self.description, "available_from": None}
        if self.available_from is not None:
            own["available_from"] = format_moment(self.available_from)
        values = {name: own.get(name) or self.attributes.get(name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def text(self, fields: Sequence[str]) -> str:
        """The non-empty fields and ``generated_text``, joined by ". "."""
        return self._join(map(self.field_text, fields))

    def encoder_text(self, fields: Sequence[str]) -> str:
        """Input of a text encoder: like ``text``, of the beginning of each field."""
        return self._join(self.field_text(name)[:MAX_ENCODED_FIELD_CHARS] for name in fields)

    def _join(self, texts: Iterable[str]) -> str:
        return ". ".join(part for part in (*texts, self.generated_text) if part)


class ItemTable:
    """N items in columns; an item is made whenever it is asked for.

    Args:
        texts: name of an item's field -> its text for each item.
        available_from: (N,) Unix seconds, -inf = always.
        layouts: distinct layouts, as JSON.
        layout_codes: (N,) int32 row of each item's layout.
    """

    def __init__(
        self,
        texts: Mapping[str, Strings],
        available_from: TimeArray,
        layouts: Sequence[str],
        layout_codes: IntArray,
        attributes: Mapping[str, AttributeValues],
    ) -> None:
        self._texts, self.available_from = texts, available_from
        self._layout_texts, self._layout_codes = layouts, layout_codes
        self._attributes = attributes

    @classmethod
    def of(cls, items: Iterable[Item]) -> Self:
        """Build from items, each read once."""
        parts: dict[str, list[str]] = {name: [] for name in _TEXTS}
        times: list[float] = []
        layouts: dict[_Layout, int] = {}
        codes: list[int] = []
        values: dict[str, list[Attribute | None]] = {}
        for row, item in enumerate(items):
            for name in _TEXTS:
                parts[name].append(getattr(item, name))
            times.append(-np.inf if item.available_from is None else item.available_from)
            layout = _layout_of(item)
            codes.append(layouts.setdefault(layout, len(layouts)))
            for name, value in item.attributes.items():
                column = values.setdefault(name, [])
                column.extend([None] * (row - len(column)))
                column.append(value)
        for column in values.values():
            column.extend([None] * (len(times) - len(column)))
        return cls(
            {name: Strings.of(texts) for name, texts in parts.items()},
            np.array(times, np.float64),
            [json.dumps(layout, ensure_ascii=False) for layout in layouts],
            np.array(codes, np.int32),
            {name: AttributeValues.of(column) for name, column in values.items()},
        )

    def __len__(self) -> int:
        return len(self._layout_codes)

    def __getitem__(self, row: int) -> Item:
        time = float(self.available_from[row])
        item_id, title, description, generated = (self._texts[name][row] for name in _TEXTS)
        available_from = None if time == -np.inf else time
        attributes, marked = self._attributes_of(row), self._generated_attributes_of(row)
        return Item(item_id, title, description, attributes, available_from, generated, marked)

    def __iter__(self) -> Iterator[Item]:
        return (self[row] for row in range(len(self)))

    @property
    def ids(self) -> Strings:
        """External ids, by number."""
        return self._texts["item_id"]

    def texts(self, name: str) -> Strings:
        """One of the items' own texts: ``title``, ``description``, ..."""
        return self._texts[name]

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attributes that items have, in order of first appearance."""
        return tuple(self._attributes)

    def attribute(self, name: str) -> AttributeValues:
        """Values of one attribute."""
        found = self._attributes.get(name)
        return AttributeValues.none(len(self)) if found is None else found

    @cached_property
    def bare(self) -> IntArray:
        """Rows, ascending, of items of a title alone, without a text; none if most are so."""
        sizes = [np.diff(self._texts[name].starts) for name in ("description", "generated_text")]
        rows = np.flatnonzero(sizes[0] + sizes[1] == 0)
        return rows.astype(np.int32) if 2 * len(rows) < len(self) else NO_ITEMS

    @cached_property
    def timed(self) -> tuple[IntArray, TimeArray]:
        """Items that have a time from which they may be shown, earliest first, and their times."""
        timed = np.flatnonzero(np.isfinite(self.available_from))
        order = timed[np.argsort(self.available_from[timed], kind="stable")]
        return order.astype(np.int32), self.available_from[order]

    def words(self, number: int) -> tuple[str, ...]:
        """Distinct texts of an item's attributes, lists included; those read last are kept."""
        return self._words(number)

    @cached_property
    def _words(self) -> Callable[[int], tuple[str, ...]]:
        every = self._attributes.values()
        worded = [one for one in every if len(one.texts) > 1 or len(one.members)]

        @lru_cache(_CACHED_WORDS)
        def words(number: int) -> tuple[str, ...]:
            found = (word for values in worded for word in values.words_of(number))
            return tuple(dict.fromkeys(found))

        return words

    def save(self, path: Path) -> None:
        """Write one Arrow IPC file."""
        import pyarrow as pa

        columns: dict[str, Any] = {name: _to_arrow(self._texts[name]) for name in _TEXTS}
        columns["available_from"] = to_arrow(self.available_from)
        columns["layout"] = _to_dictionary(self._layout_codes, self._layout_texts)
        for name, values in self._attributes.items():
            columns[f"number:{name}"] = to_arrow(values.numbers)
            columns[f"text:{name}"] = _to_dictionary(values.codes, values.texts)
            listed = _to_dictionary(values.listed, values.members)
            starts = to_arrow(values.starts)
            columns[f"list:{name}"] = pa.LargeListArray.from_arrays(starts, listed)
        batch = pa.record_batch(columns)
        with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, batch.schema) as writer:
            writer.write_batch(batch)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map what ``save`` wrote.

        Raises:
            ArtefactError: the file is missing or damaged.
        """
        import pyarrow as pa

        with require_readable(path, "items"):
            with pa.memory_map(str(path)) as stream:
                batch = pa.ipc.open_file(stream).get_batch(0)
            columns = {name: batch.column(name) for name in batch.schema.names}
            layout_codes, layouts = _of_dictionary(columns["layout"])
            names = [name.partition(":")[2] for name in columns if name.startswith("number:")]
            return cls(
                {name: _of_arrow(columns[name]) for name in _TEXTS},
                _of_numbers(columns["available_from"], np.float64),
                layouts,
                layout_codes,
                {name: _values(columns, name) for name in names},
            )

    def _attributes_of(self, row: int) -> dict[str, Attribute]:
        attributes: dict[str, Attribute] = {}
        for name, kind, *_ in self._layouts[int(self._layout_codes[row])]:
            values = self._attributes[name]
            if kind == "number":
                attributes[name] = float(values.numbers[row])
            else:
                attributes[name] = values.text(row) if kind == "text" else values.members_of(row)
        return attributes

    def _generated_attributes_of(self, row: int) -> tuple[str, ...]:
        layout = self._layouts[int(self._layout_codes[row])]
        return tuple(name for name, _, *marks in layout if marks)

    @cached_property
    def _layouts(self) -> list[_Layout]:
        return [cast("_Layout", json.loads(text)) for text in self._layout_texts]


def _layout_of(item: Item) -> _Layout:
    return tuple(
        (name, _kind(value), "generated")
        if name in item.generated_attributes
        else (name, _kind(value))
        for name, value in item.attributes.items()
    )


def _kind(value: Attribute) -> AttributeKind:
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, tuple | list) else "number"


def _to_arrow(strings: Sequence[str]) -> Any:
    import pyarrow as pa

    column = strings if isinstance(strings, Strings) else Strings.of(strings)
    buffers = [None, pa.py_buffer(column.starts), pa.py_buffer(column.text)]
    return pa.Array.from_buffers(pa.large_string(), len(column), buffers)


def _of_arrow(array: Any) -> Strings:
    _, starts, text = array.buffers()
    count = len(array) + 1 if starts else 0
    offsets = _of_buffer(starts, np.int64, array.offset, count) if count else np.zeros(1, np.int64)
    return Strings(_of_buffer(text, np.uint8), offsets)


def _of_buffer(buffer: Any, kind: Any, begin: int = 0, count: int = -1) -> NDArray[Any]:
    # ``to_numpy`` of Arrow would import pandas.
    if buffer is None:
        return np.empty(0, kind)
    values = np.frombuffer(buffer, kind)
    return values[begin:] if count < 0 else values[begin : begin + count]


def _of_numbers(array: Any, kind: Any) -> NDArray[Any]:
    return _of_buffer(array.buffers()[1], kind, array.offset, len(array))


def _to_dictionary(codes: NDArray[Any], names: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(to_arrow(codes), _to_arrow(names))


def _of_dictionary(array: Any) -> tuple[IntArray, Strings]:
    return _of_numbers(array.indices, np.int32), _of_arrow(array.dictionary)


def _values(columns: Mapping[str, Any], name: str) -> AttributeValues:
    codes, texts = _of_dictionary(columns[f"text:{name}"])
    lists = columns[f"list:{name}"]
    listed, members = _of_dictionary(lists.values)
    numbers = _of_numbers(columns[f"number:{name}"], np.float64)
    starts = _of_buffer(lists.buffers()[1], np.int64, lists.offset, len(lists) + 1)
    return AttributeValues(numbers, codes, texts, starts, listed, members)
