"""The state that requests are answered from, and the writes that replace it.

A write goes to the store first (durable when it returns) and then makes a new state: an item
posted is findable at once, and one deleted is gone at once. Reads take the state once and finish
on it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from serendip.data.item import Item
from serendip.data.store.store import Store
from serendip.engine.state import EngineState
from serendip.engine.updates import Updater


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    """What may be shown from one time to another, of one state.

    Args:
        base: everything that is known.
        begin: Unix seconds from which on it holds; inclusive.
        end: when the time of a further item comes; exclusive.
        shown: ``base`` without the items whose time has not come.
    """

    base: EngineState
    begin: float
    end: float
    shown: EngineState

    @classmethod
    def of(cls, base: EngineState, now: float) -> Self:
        """The moment that ``now`` lies in."""
        times = base.catalogue.available_from
        waiting = times > now
        begin = float(times[~waiting].max(initial=-np.inf))
        if not waiting.any():
            return cls(base, begin, np.inf, base)
        numbers = np.flatnonzero(waiting).astype(np.int32)
        return cls(base, begin, float(times[waiting].min()), base.with_hidden(numbers))

    def holds(self, base: EngineState, now: float) -> bool:
        """Whether it is the moment of this state and time."""
        return self.base is base and self.begin <= now < self.end


class LiveState:
    """A generation and what was posted or deleted since; safe to use from many threads.

    Args:
        state: of the generation.
        item_version: version of the store's items that it was trained on.
        store: where items are.
        updater: reads new items.
    """

    def __init__(
        self, state: EngineState, item_version: int, store: Store, updater: Updater
    ) -> None:
        self._current, self._item_version = state, item_version
        self._store, self._updater = store, updater
        self._writing = threading.Lock()
        self._moment = _Moment.of(state, -np.inf)

    @property
    def current(self) -> EngineState:
        """Everything that is known, items whose time has not come included; immutable."""
        return self._current

    def at(self, now: float) -> EngineState:
        """What may be shown at a time in Unix seconds: what is not available yet is hidden."""
        base, moment = self._current, self._moment
        if not moment.holds(base, now):
            self._moment = moment = _Moment.of(base, now)
        return moment.shown

    def catch_up(self) -> None:
        """Take in what was posted or deleted in the store since this was last done."""
        with self._writing:
            version = self._store.max_version()
            if version == self._item_version:
                return
            items = self._store.items_after(self._item_version)
            state = self._updater.state_with(items, self._current) if items else self._current
            numbers = state.catalogue.vocabulary.numbers(self._store.deleted_ids())
            self._current = state.with_hidden(numbers[numbers >= 0])
            self._item_version = version

    def add_items(self, items: Sequence[Item]) -> int:
        """Store items and take them in; of items with the same id, the last counts.

        Returns:
            how many were stored.
        """
        unique = list({item.item_id: item for item in items}.values())
        with self._writing:
            count = self._store.put_items(unique)
            self._current = self._updater.state_with(unique, self._current)
        return count

    def delete_item(self, item_id: str) -> bool:
        """Delete an item from the store, and hide it; False where the store has none."""
        with self._writing:
            deleted = self._store.delete_item(item_id)
            number = self._current.catalogue.vocabulary.number(item_id)
            if number >= 0:
                self._current = self._current.with_hidden(np.array([number], np.int32))
        return deleted
