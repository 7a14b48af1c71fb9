"""Data model shared by all layers: items, events, queries, datasets, and their store."""

from serendip.data.arrays import BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.dataset import Dataset, EventLog, QueryExamples
from serendip.data.events.event import ActionRules, Event, EventColumns
from serendip.data.item_list import ItemList
from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.items.features import ItemFeatures
from serendip.data.items.semantic_ids import Codebooks
from serendip.data.query import History, Query, Task, UserPast
from serendip.data.vocabulary import Vocabulary

__all__ = [
    "ActionRules",
    "AllowedItems",
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
    "Query",
    "QueryExamples",
    "Task",
    "TimeArray",
    "UserPast",
    "Vocabulary",
]
