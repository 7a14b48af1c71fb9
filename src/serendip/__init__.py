"""Serendip: one engine for search and recommendations.

The public names below are imported on first use, so that ``serendip --help`` starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serendip.data import Catalogue, Dataset, Event, Item, ItemList, Query
    from serendip.data.rules import Rule
    from serendip.engine.engine import Engine
    from serendip.engine.request import Answer, Request
    from serendip.models import model_class
    from serendip.runtime.progress import TrainOptions

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "Catalogue",
    "Dataset",
    "Engine",
    "Event",
    "Item",
    "ItemList",
    "Query",
    "Request",
    "Rule",
    "TrainOptions",
    "__version__",
    "model_class",
]

_MODULES = {
    "Answer": "serendip.engine.request",
    "Catalogue": "serendip.data.items.catalogue",
    "Dataset": "serendip.data.dataset",
    "Engine": "serendip.engine.engine",
    "Event": "serendip.data.events.event",
    "Item": "serendip.data.items.catalogue",
    "ItemList": "serendip.data.item_list",
    "Query": "serendip.data.query",
    "Request": "serendip.engine.request",
    "Rule": "serendip.data.rules",
    "TrainOptions": "serendip.runtime.progress",
    "model_class": "serendip.models",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
