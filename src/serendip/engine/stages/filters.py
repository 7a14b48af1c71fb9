"""Filters decide which items may be shown, before anything is retrieved.

A filter returns a mask over the catalogue, and the trace counts the items that are left after it.
Filtering first means that quotas are never filled with items that cannot be shown.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.event import Exclusion
from serendip.data.query import Query, Task
from serendip.engine.stages.attribute_filter import AttributeFilter
from serendip.engine.stages.base import Stage
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState


class Filter(Stage, ABC):
    """Keeps or removes items for one query."""

    @abstractmethod
    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """(N,) bool, True = may be shown."""


class NotDeleted(Filter):
    """Removes deleted items."""

    name, label = "deleted", "Not deleted"

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """True for items that exist."""
        return ~state.hidden


class Available(Filter):
    """Removes items that are not available yet; a query without a time sees all."""

    name, label = "available", "Available now"

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """True where ``available_from`` lies before the request."""
        if math.isnan(query.time):
            return np.ones(state.num_items, dtype=np.bool_)
        keep: BoolArray = state.catalogue.available_from <= query.time
        return keep


class NotSeen(Filter):
    """Removes items that the user has already chosen or rejected."""

    name, label = "seen", "Not seen yet"

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """False for items of the history and for rejected ones."""
        mask = np.ones(state.num_items, dtype=np.bool_)
        mask[query.history.item_nums] = False
        mask[query.rejected.reaching("seen")] = False
        return mask


class NotRejected(Filter):
    """Removes items that the user rejected: hidden ones always, disliked ones except in search."""

    name, label = "rejected", "Not rejected by the user"

    def __init__(self, task: Task) -> None:
        self._reach: Exclusion = "everywhere" if task == "search" else "recommendations"

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """False for items whose rejection reaches the surface."""
        mask = np.ones(state.num_items, dtype=np.bool_)
        mask[query.rejected.reaching(self._reach)] = False
        return mask


class NotInContext(Filter):
    """Removes the source items of the request, and those that the caller excludes."""

    name, label = "context", "Not the item itself"

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """False for source items and excluded items."""
        mask = np.ones(state.num_items, dtype=np.bool_)
        mask[query.source_items] = False
        mask[query.exclude] = False
        return mask


class ByAttribute(Filter):
    """Removes items that fail a test of the settings."""

    def __init__(self, config: AttributeFilter) -> None:
        self.name, self.label = config.name, f"Where {config.name}"
        self._config = config

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """Items that pass; all of them if the request lacks the value to compare with."""
        kept = self._config.keep(query, state.catalogue)
        return np.ones(state.num_items, dtype=np.bool_) if kept is None else kept


REQUEST_FILTERS: tuple[Filter, ...] = (Available(), NotDeleted(), NotInContext())
"""Filters of every surface; they read the whole request, whatever the surface reads. An item that
is not available yet is hidden as well: removed first, it does not count as deleted."""


def filters_of(surface: SurfaceConfig) -> tuple[Filter, ...]:
    """The filter of rejected items, then the filters that a surface names, in order."""
    configured = (
        NotSeen() if config == "seen" else ByAttribute(config) for config in surface.filters
    )
    return (NotRejected(surface.task), *configured)
