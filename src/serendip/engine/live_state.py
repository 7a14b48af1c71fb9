"""The state that requests are answered from, and the writes that replace it.

A write goes to the store first (durable when it returns) and then makes a new state: an item
posted is findable at once, and one deleted is gone at once. Reads take the state once and finish
on it.

Items that come after training: encoded, coded and taken into a state; nothing is trained.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from serendip.content.config import ContentConfig
from serendip.content.encoders.base import TextEncoder
from serendip.content.features import encode_new, find_unchanged
from serendip.data.arrays import IntArray
from serendip.data.item import Item
from serendip.data.item_features import ItemFeatures, TokenReader
from serendip.data.store.store import Store
from serendip.engine.state import EngineState


@dataclass(frozen=True, slots=True)
class ItemUpdater:
    """Makes the state after items were posted.

    Args:
        encoder: reads the items' words.
        content: which fields are read.
        tokens: what is read as words and attributes, whether or not the settings still ask for a
            table of them: the generation that is served may have one.
    """

    encoder: TextEncoder
    content: ContentConfig
    tokens: TokenReader

    def state_with(self, items: Sequence[Item], state: EngineState) -> EngineState:
        """New items appended, known ones replaced in place; deleted ones come back."""
        vocabulary = state.catalogue.vocabulary
        known = [item for item in items if item.item_id in vocabulary]
        fresh = [item for item in items if item.item_id not in vocabulary]
        if known:
            numbers = vocabulary.numbers(item.item_id for item in known)
            features = self._features_again(numbers, known, state)
            state = state.with_changed_items(numbers, known, features).with_hidden(numbers, False)
        return state.with_items(fresh, self._features(fresh, state)) if fresh else state

    def _features(self, items: Sequence[Item], state: EngineState) -> ItemFeatures:
        fields = self.content.fields
        features = encode_new(items, self.encoder, state.codebooks, fields, state.fusion)
        return features.read_by(self.tokens, items)

    def _features_again(
        self, numbers: IntArray, items: Sequence[Item], state: EngineState
    ) -> ItemFeatures:
        """Features of known items posted again; those that name the same files keep theirs.

        Without that, a new price would cost an item its picture until the next training.
        """
        new = self._features(items, state)
        if not state.fusion.blocks:
            return new
        before = [state.catalogue[int(number)] for number in numbers]
        read = (*self.content.fields, *self.content.media_fields)
        same = find_unchanged(before, items, read)
        kept = new.with_rows(same, state.features.rows(numbers[same]))
        return replace(kept, tokens=new.tokens)


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
        self, state: EngineState, item_version: int, store: Store, updater: ItemUpdater
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
