"""Filters decide what may be shown, before anything is retrieved.

A filter returns the items it keeps as a mask over the catalogue; what it removes is counted in
the trace. Filtering first means that quotas are never filled with items that cannot be shown.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.event import Exclusion
from serendip.data.query import Query, Task
from serendip.engine.stages.attribute_filter import AttributeFilter
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState


class Filter(Protocol):
    """Keeps or removes items for one query."""

    name: str

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """(N,) bool, True = may be shown."""
        ...


class NotDeleted:
    """Removes deleted items."""

    name = "deleted"

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """True for items that exist."""
        return ~state.hidden


class Available:
    """Removes items whose time has not come; a query without a time sees all."""

    name = "available"

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """True where ``available_from`` lies before the request."""
        if math.isnan(query.time):
            return np.ones(state.num_items, dtype=np.bool_)
        keep: BoolArray = state.catalogue.available_from <= query.time
        return keep


class NotSeen:
    """Removes what the user already dealt with, whether they chose or rejected it."""

    name = "seen"

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """False for items of the history and for rejected ones."""
        mask = np.ones(state.num_items, dtype=np.bool_)
        mask[query.history.item_nums] = False
        mask[query.rejected.reaching("seen")] = False
        return mask


class NotRejected:
    """Removes what the user does not want: hidden items everywhere, disliked ones but in search."""

    name = "rejected"

    def __init__(self, task: Task) -> None:
        self._reach: Exclusion = "everywhere" if task == "search" else "recommendations"

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """False for items whose rejection reaches the surface."""
        mask = np.ones(state.num_items, dtype=np.bool_)
        mask[query.rejected.reaching(self._reach)] = False
        return mask


class NotInContext:
    """Removes the items that the answer is about, and those the caller excludes."""

    name = "context"

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """False for source items and excluded items."""
        mask = np.ones(state.num_items, dtype=np.bool_)
        mask[query.source_items] = False
        mask[query.exclude] = False
        return mask


class ByAttribute:
    """Removes items that a test of the settings does not keep."""

    def __init__(self, config: AttributeFilter) -> None:
        self.name = config.name
        self._config = config

    def keep(self, query: Query, state: EngineState) -> BoolArray:
        """What the test keeps; everything where the request does not say what is compared."""
        kept = self._config.keep(query, state.catalogue)
        return np.ones(state.num_items, dtype=np.bool_) if kept is None else kept


ALWAYS: tuple[Filter, ...] = (Available(), NotDeleted(), NotInContext())
"""Filters of every surface; they read the whole request, whatever the surface reads. What is not
available yet is hidden as well: taken out first, it is not counted as deleted."""


def filters_of(surface: SurfaceConfig) -> tuple[Filter, ...]:
    """What the user rejected, then the filters that a surface names, in order."""
    named = (NotSeen() if one == "seen" else ByAttribute(one) for one in surface.filters)
    return (NotRejected(surface.task), *named)
