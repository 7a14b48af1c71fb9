"""Data model shared by all layers: items, events, queries, data sets and their arrays.

The database is not part of it: see ``data.store.store``.
"""

from serendip.data.arrays import (
    NO_ITEMS,
    BoolArray,
    FloatArray,
    IntArray,
    TimeArray,
    distinct,
    locate,
)
from serendip.data.artefact import Artefact
from serendip.data.dataset import Dataset, EventLog, QueryExamples
from serendip.data.events.event import ActionRules, Event, EventColumns
from serendip.data.item_list import ItemList, tie_order
from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.items.features import ItemFeatures, Tokens
from serendip.data.items.semantic_ids import Codebooks
from serendip.data.query import History, Query, Task, UserPast
from serendip.data.rows.row_array import PackedRows, dot_items, dot_rows, put_rows
from serendip.data.rows.strings import Strings
from serendip.data.text import fold, normalise, title_key, words
from serendip.data.vocabulary import MISSING, Vocabulary

__all__ = [
    "MISSING",
    "NO_ITEMS",
    "ActionRules",
    "AllowedItems",
    "Artefact",
    "BoolArray",
    "Catalogue",
    "Codebooks",
    "Dataset",
    "Event",
    "EventColumns",
    "EventLog",
    "FloatArray",
    "History",
    "IntArray",
    "Item",
    "ItemFeatures",
    "ItemList",
    "ItemSet",
    "PackedRows",
    "Query",
    "QueryExamples",
    "Strings",
    "Task",
    "TimeArray",
    "Tokens",
    "UserPast",
    "Vocabulary",
    "distinct",
    "dot_items",
    "dot_rows",
    "fold",
    "locate",
    "normalise",
    "put_rows",
    "tie_order",
    "title_key",
    "words",
]
