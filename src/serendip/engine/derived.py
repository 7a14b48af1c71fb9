"""What requests need of a state besides its own arrays: computed once for each state, on first use.

A request makes no array of the catalogue's length; those that it reads are here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

from serendip.data import BoolArray, ItemSet

_MAX_SETS, _MAX_PASSING = 64, 16
"""Sets that are kept, the least recently used go first; and of those that filters of requests
leave, of which there may be any number."""

ValueT = TypeVar("ValueT")


class Derived:
    """Sets, sorted arrays and numbers of one state; safe to use from many threads."""

    def __init__(self) -> None:
        self._sets: OrderedDict[Hashable, ItemSet] = OrderedDict()
        self._passing: OrderedDict[Hashable, ItemSet] = OrderedDict()
        self._values: dict[str, Any] = {}
        self._lock = threading.Lock()

    def item_set(
        self, key: Hashable, build: Callable[[], BoolArray], is_lasting: bool = True
    ) -> ItemSet:
        """A set of items.

        Args:
            key: names the set among all sets of the state.
            build: computes its mask (N,), if it is not known yet.
            is_lasting: whether many requests read it; False = it is what the filters of one leave.
        """
        kept, most = (self._sets, _MAX_SETS) if is_lasting else (self._passing, _MAX_PASSING)
        with self._lock:
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
        built = ItemSet(build(), is_lasting)
        with self._lock:
            found = kept.setdefault(key, built)
            while len(kept) > most:
                kept.popitem(last=False)
        return found

    def value(self, name: str, compute: Callable[[], ValueT]) -> ValueT:
        """An array or a number of the whole state.

        Args:
            name: names it among all of the state.
            compute: gives it, if it is not known yet.
        """
        if name not in self._values:
            self._values[name] = compute()
        return cast(ValueT, self._values[name])
