"""Items as rows and as an Arrow table: attributes are one JSON text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serendip.data.events.event_table import is_first
from serendip.data.items.catalogue import Attribute, Item
from serendip.data.rows.arrow import tabulate

if TYPE_CHECKING:
    import pyarrow as pa

ITEM_NAMES = ("item_id", "title", "description", "attributes", "available_from")


def item_values(item: Item) -> tuple[str, str, str, str, float | None]:
    """The values of ``ITEM_NAMES``."""
    attributes = write_attributes(item.attributes)
    return item.item_id, item.title, item.description, attributes, item.available_from


def tabulate_items(items: Iterable[Item]) -> pa.Table:
    """Build a table from valid items, in their order."""
    types = dict.fromkeys(ITEM_NAMES, "string") | {"available_from": "float64"}
    return tabulate(map(item_values, items), types)


def last_of_each(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Keep the last row of each id, at the place of its first one; and the ids of the others."""
    ids = table["item_id"].combine_chunks().dictionary_encode()
    if len(ids.dictionary) == len(table):
        return table, []
    codes = np.asarray(ids.indices)
    last = np.empty(len(ids.dictionary), np.int64)
    last[codes] = np.arange(len(codes))  # of equal codes the last write counts
    repeated = ids.filter(~is_first(codes)).to_pylist()
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


def write_attributes(attributes: Mapping[str, Attribute]) -> str:
    """Attributes as JSON text."""
    return json.dumps(dict(attributes), ensure_ascii=False, allow_nan=False)


def read_attributes(text: str) -> dict[str, Attribute]:
    """Read attributes from their JSON text."""
    values: dict[str, Any] = json.loads(text)
    kinds: Mapping[type, Callable[[Any], Attribute]] = {list: tuple, str: str}
    return {name: kinds.get(type(value), float)(value) for name, value in values.items()}
