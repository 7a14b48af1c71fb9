"""The state that requests are answered from, and the writes that replace it.

A write goes to the store first (durable when it returns) and then makes a new state: an item
posted is findable at once, and one deleted is gone at once. Reads take the state once and finish
on it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from serendip.data.item import Item
from serendip.data.store import Store
from serendip.engine.state import EngineState
from serendip.engine.updates import Updater


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

    @property
    def current(self) -> EngineState:
        """As of now; immutable."""
        return self._current

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
