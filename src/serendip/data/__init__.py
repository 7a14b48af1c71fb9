"""Data model shared by all layers: items, events, queries, datasets, and their store."""

from serendip.data.dataset import Dataset, EventLog, QueryExamples
from serendip.data.event import ActionRules, Event
from serendip.data.item import Catalogue, Item
from serendip.data.item_features import ItemFeatures
from serendip.data.item_list import ItemList
from serendip.data.query import History, Query, Surface
from serendip.data.semantic_ids import Codebooks
from serendip.data.vocabulary import Vocabulary

__all__ = [
    "ActionRules",
    "Catalogue",
    "Codebooks",
    "Dataset",
    "Event",
    "EventLog",
    "History",
    "Item",
    "ItemFeatures",
    "ItemList",
    "Query",
    "QueryExamples",
    "Surface",
    "Vocabulary",
]
