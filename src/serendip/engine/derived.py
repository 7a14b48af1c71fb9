"""What requests need of a state besides its own arrays: computed once for each state, on first use.

A request makes no array of the catalogue's length; those that it reads are here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray
from serendip.data.items.allowed_items import ItemSet

_MAX_SETS = 64
"""Sets that are kept; the least recently used go first."""
_MAX_PASSING = 16
"""The same of the sets that filters of requests leave, of which there may be any number."""


class Derived:
    """Sets, sorted arrays and numbers of one state; safe to use from many threads."""

    def __init__(self) -> None:
        self._sets: OrderedDict[Hashable, ItemSet] = OrderedDict()
        self._passing: OrderedDict[Hashable, ItemSet] = OrderedDict()
        self._sorted: dict[str, NDArray[Any]] = {}
        self._numbers: dict[str, float] = {}
        self._lock = threading.Lock()

    def item_set(self, key: Hashable, build: Callable[[], BoolArray]) -> ItemSet:
        """A set of items.

        Args:
            key: names the set among all sets of the state.
            build: computes its mask (N,), if it is not known yet.
        """
        return self._keep(self._sets, _MAX_SETS, key, lambda: ItemSet(build()))

    def passing_set(self, key: Hashable, build: Callable[[], BoolArray]) -> ItemSet:
        """A set that the filters of one request leave; few of them are kept.

        Args:
            key: the filters.
            build: computes its mask (N,), if it is not known.
        """
        return self._keep(
            self._passing, _MAX_PASSING, key, lambda: ItemSet(build(), is_lasting=False)
        )

    def _keep(
        self,
        kept: OrderedDict[Hashable, ItemSet],
        most: int,
        key: Hashable,
        build: Callable[[], ItemSet],
    ) -> ItemSet:
        """The set of a key, built if it is not kept."""
        with self._lock:
            found = kept.get(key)
            if found is not None:
                kept.move_to_end(key)
                return found
        found = build()
        with self._lock:
            found = kept.setdefault(key, found)
            while len(kept) > most:
                kept.popitem(last=False)
        return found

    def ascending(self, name: str, build: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Values in ascending order.

        Args:
            name: names them among all of the state.
            build: gives the values in any order, if they are not known yet.
        """
        found = self._sorted.get(name)
        if found is None:
            self._sorted[name] = found = np.sort(build())
        return found

    def number(self, name: str, compute: Callable[[], float]) -> float:
        """A number of the whole state.

        Args:
            name: names it among all of the state.
            compute: gives it, if it is not known yet.
        """
        found = self._numbers.get(name)
        if found is None:
            self._numbers[name] = found = compute()
        return found
