"""Filters decide which items may be shown, before anything is retrieved.

A filter restricts the allowed items of one query to a set that many requests share, or leaves out a
few items; the trace counts the items that are left after it. Filtering first means that quotas are
never filled with items that cannot be shown.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np

from serendip.data import NO_ITEMS, AllowedItems, BoolArray, Catalogue, Query, Task, locate
from serendip.data.events.event import Exclusion
from serendip.data.items.attribute_test import AttributeTest
from serendip.engine.stages.base import Stage
from serendip.engine.stages.rules import numbers_of, passing, rules_of
from serendip.engine.stages.surfaces import COUNTRY, SEEN, SurfaceConfig
from serendip.engine.state import EngineState


class Filter(Stage, ABC):
    """Keeps or removes items for one query."""

    @abstractmethod
    def restrict(self, allowed: AllowedItems, query: Query, state: EngineState) -> AllowedItems:
        """The items of ``allowed`` that may be shown.

        A set of the catalogue's length comes from ``state.derived``, so that it is computed once
        for many requests.
        """


class NotDeleted(Filter):
    """Removes deleted items."""

    name, label = "deleted", "Not deleted"

    def restrict(self, allowed: AllowedItems, query: Query, state: EngineState) -> AllowedItems:
        """Only items that exist."""
        return allowed.within(state.derived.item_set(self.name, lambda: ~state.hidden))


class Available(Filter):
    """Removes items that are not available yet; a query without a time sees all."""

    name, label = "available", "Available now"

    def restrict(self, allowed: AllowedItems, query: Query, state: EngineState) -> AllowedItems:
        """Only items whose ``available_from`` lies before the request."""
        if math.isnan(query.time):
            return allowed
        available_from = state.catalogue.available_from  # (N,)
        times = state.derived.value(
            self.name, lambda: np.sort(available_from[available_from > -math.inf])
        )
        period = int(np.searchsorted(times, query.time, side="right"))
        if period == len(times):
            return allowed
        # The same items are available until the next one is.
        moment = times[period - 1] if period else -math.inf
        key = (self.name, period)
        return allowed.within(state.derived.item_set(key, lambda: available_from <= moment))


class NotSeen(Filter):
    """Removes items that the user has already chosen or rejected, unless they may come again."""

    name, label = "seen", "Not seen yet"

    def restrict(self, allowed: AllowedItems, query: Query, state: EngineState) -> AllowedItems:
        """Without items of the history that may not come again, and rejected ones."""
        seen, rejected = query.history.items, query.rejected.reaching("seen")
        if len(query.again):
            seen = seen[~locate(query.again, seen)[1]]
        return allowed.without_ascending(seen).without(rejected)


class NotRejected(Filter):
    """Removes items that the user rejected: hidden ones always, disliked ones except in search."""

    name, label = "rejected", "Not rejected by the user"

    def __init__(self, task: Task) -> None:
        self._reach: Exclusion = "everywhere" if task == "search" else "recommendations"

    def restrict(self, allowed: AllowedItems, query: Query, state: EngineState) -> AllowedItems:
        """Without items whose rejection reaches the surface."""
        return allowed.without(query.rejected.reaching(self._reach))


class NotInContext(Filter):
    """Removes the source items of the request, and those that the caller excludes."""

    name, label = "context", "Not the item itself"

    def restrict(self, allowed: AllowedItems, query: Query, state: EngineState) -> AllowedItems:
        """Without source items and excluded items."""
        return allowed.without(query.source_items).without(query.exclude)


class NotWorn(Filter):
    """Removes items that were shown to the user too often."""

    name, label = "frequency", "Not shown too often"

    def restrict(self, allowed: AllowedItems, query: Query, state: EngineState) -> AllowedItems:
        """Without items whose impressions reach the limit of the surface."""
        return allowed.without(query.worn)


class Requested(Filter):
    """Removes items that fail a test of the request."""

    name, label = "request", "As the request filters"

    def restrict(self, allowed: AllowedItems, query: Query, state: EngineState) -> AllowedItems:
        """Items that pass all tests; those of the same tests are computed once for a while."""
        if not query.filters:
            return allowed
        tests = frozenset(query.filters)
        build = partial(_keep_all, tests, state.catalogue)
        return allowed.within(state.derived.item_set(tests, build, is_lasting=False))


class NotHidden(Filter):
    """Removes items that a rule hides."""

    name, label = "rules", "Not hidden by a rule"

    def restrict(self, allowed: AllowedItems, query: Query, state: EngineState) -> AllowedItems:
        """Without the items of the rules: those they name, and those that pass their tests."""
        named = [NO_ITEMS]
        for rule in rules_of(query, "hide"):
            named.append(numbers_of(rule, state))
            if rule.where:
                allowed = allowed.within(passing(rule, state, is_negated=True))
        return allowed.without(np.concatenate(named))


class ByAttribute(Filter):
    """Removes items that fail a test of the settings."""

    def __init__(self, written: str) -> None:
        self.name, self.label = written, f"Where {written}"
        self._test = AttributeTest.parse(written)

    def restrict(self, allowed: AllowedItems, query: Query, state: EngineState) -> AllowedItems:
        """Items that pass; all of them if the request lacks the value to compare with."""
        test = self._test
        if test.values == (COUNTRY,):
            if not query.country:
                return allowed
            test = replace(test, values=(query.country.casefold(),))
        key = (self.name, test)
        return allowed.within(state.derived.item_set(key, lambda: test.keep(state.catalogue)))


def _keep_all(tests: Iterable[AttributeTest], catalogue: Catalogue) -> BoolArray:
    masks = [test.keep(catalogue) for test in tests]
    passing: BoolArray = np.logical_and.reduce(masks)
    return passing


# An item that is not available yet is hidden as well: removed first, it does not count as deleted.
REQUEST_FILTERS: tuple[Filter, ...] = (
    *(Available(), NotDeleted(), NotInContext(), Requested(), NotHidden()),
)


def filters_of(surface: SurfaceConfig) -> tuple[Filter, ...]:
    """The filter of rejected items, then the filters that a surface names, in order."""
    configured = (NotSeen() if one == SEEN else ByAttribute(one) for one in surface.filters)
    worn = (NotWorn(),) if surface.frequency is not None else ()
    return (NotRejected(surface.task), *worn, *configured)
