"""Items as rows and as an Arrow table: attributes are one JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from serendip.data.items.catalogue import Attribute, Item

if TYPE_CHECKING:
    import pyarrow as pa

ITEM_NAMES = ("item_id", "title", "description", "attributes", "available_from")

_CHUNK = 10_000


def item_values(item: Item) -> tuple[str, str, str, str, float | None]:
    """The values of ``ITEM_NAMES``."""
    attributes = json.dumps(dict(item.attributes), ensure_ascii=False, allow_nan=False)
    return item.item_id, item.title, item.description, attributes, item.available_from


def tabulate_items(items: Iterable[Item]) -> pa.Table:
    """Build a table from valid items, in their order."""
    import pyarrow as pa

    schema = pa.schema(
        [(name, "float64" if name == "available_from" else "string") for name in ITEM_NAMES]
    )
    rows, chunks = map(item_values, items), []
    while chunk := list(islice(rows, _CHUNK)):
        chunks.append(pa.table(list(zip(*chunk, strict=True)), schema=schema))
    return pa.concat_tables(chunks) if chunks else schema.empty_table()


def tabulate_sizes(rows: Iterable[Sequence[Any]]) -> pa.Table:
    """Build a table of ``item_id``, ``title``, ``size`` and ``available_from`` from their rows."""
    import pyarrow as pa

    texts = [("item_id", "string"), ("title", "string")]
    schema = pa.schema([*texts, ("size", "int64"), ("available_from", "float64")])
    left, chunks = iter(rows), []
    while chunk := list(islice(left, _CHUNK)):
        chunks.append(pa.table(list(zip(*chunk, strict=True)), schema=schema))
    return pa.concat_tables(chunks) if chunks else schema.empty_table()


def last_of_each(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Keep the last row of each id, at the place of its first one.

    Returns:
        the table, and the ids of the rows that repeat an id, in their order.
    """
    ids = table["item_id"].combine_chunks().dictionary_encode()
    if len(ids.dictionary) == len(table):
        return table, []
    codes = np.asarray(ids.indices)
    last = np.empty(len(ids.dictionary), np.int64)
    last[codes] = np.arange(len(codes))  # of equal codes the last write counts
    first = np.zeros(len(codes), np.bool_)
    first[np.unique(codes, return_index=True)[1]] = True
    repeated = ids.filter(~first).to_pylist()
    return table.take(last), repeated


def items_of(rows: Iterable[Sequence[Any]]) -> list[Item]:
    """Convert rows of ``ITEM_NAMES`` to items."""
    return [
        Item(item_id, title, description, read_attributes(attributes), available_from)
        for item_id, title, description, attributes, available_from in rows
    ]


def list_items(table: pa.Table) -> list[Item]:
    """The rows of a table as items."""
    columns = [table[name].to_pylist() for name in ITEM_NAMES]
    return items_of(zip(*columns, strict=True))


def read_attributes(text: str) -> dict[str, Attribute]:
    """Read attributes from their JSON text."""
    values: dict[str, Any] = json.loads(text)
    return {
        name: tuple(value)
        if isinstance(value, list)
        else value
        if isinstance(value, str)
        else float(value)
        for name, value in values.items()
    }
