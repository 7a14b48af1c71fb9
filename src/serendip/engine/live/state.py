"""Live state: the state that requests are answered from, replaced by every write of items.

A write goes to the store first (it is durable when it returns) and then replaces the state, so that
a posted item can be found at once and a deleted one is gone at once. Posted items are encoded and
get semantic IDs; nothing is trained. A request reads the state once and keeps it to its end.

Live counts: interactions, rejections and impressions of new items follow the log untrained.

A generation has the counts of the log that it was trained on. Events of the API appended since, by
this or by any other process, are read from the log in its order, each once, and change the counts
of a state and the models of popularity. Of new items, rejections and impressions are counted, too,
as they are new no longer after one, or after many. The log is read at most every ``FOLLOW_S``
seconds, so that a busy engine counts many events at once.

What an import appends repeats what is counted already and is left out. After an erasure, which
removes events that were counted, all events since the training are counted anew, every ``REST_S``
seconds at most. So a restart gives the same counts as following
all the time.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from serendip.content.config import ContentConfig
from serendip.content.encoders.base import TextEncoder
from serendip.content.features import encode_new, find_unchanged
from serendip.content.posted_media import NO_POSTED_MEDIA, PostedMedia
from serendip.data import ActionRules, BoolArray, EventColumns, IntArray, Item, TimeArray, put_rows
from serendip.data.events.feedback import Feedback
from serendip.data.events.search_log import IMPRESSION
from serendip.data.items.features import TokenReader
from serendip.data.rules import Rule
from serendip.data.store.event_log.reader import LogReader
from serendip.data.store.store import ItemChanges, Store
from serendip.data.store.tables.generated import keep_generated
from serendip.engine.state import EngineState
from serendip.errors import StorageError
from serendip.models.popularity import Popularity

FOLLOW_S = 0.5  # seconds between two readings of the log
REST_S = 20.0  # seconds after everything was counted in which it is not counted anew
_MOST_EARLY = 10_000  # events that are kept until their items are known
# Item id, time, whether chosen, shown, rejected.
_Counted: TypeAlias = tuple[str, float, bool, bool, bool]


class LiveCounts:
    """Counts the events that were appended to a log after a training; not safe for many threads.

    Args:
        seq: number of the last event that the generation was trained on.
        clock: returns seconds.
    """

    def __init__(
        self,
        log: LogReader,
        rules: ActionRules,
        seq: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log, self._rules = log, rules
        self._trained_seq = self._seq = seq
        self._trained: EngineState | None = None
        self._removals = -1
        self._rests_until = -np.inf
        self._clock, self._followed_at = clock, -np.inf
        self._early: list[_Counted] = []  # of items that this engine does not know yet

    @property
    def is_due(self) -> bool:
        """Whether the log has not been read for ``FOLLOW_S`` seconds, or the clock was set back."""
        return not 0 <= self._clock() - self._followed_at < FOLLOW_S

    def count_new_events(self, state: EngineState) -> EngineState:
        """The state with the events that were appended since the last call.

        At first that of the generation, later what the last call returned, with items added since.
        """
        self._followed_at = self._clock()
        position, events = self._log.after(self._seq, with_imports=False)
        if self._trained is None:
            self._trained, self._removals = state, position.removals
        elif position.removals != self._removals and not self._rests:
            return self._recount(_put_back(state, self._trained))
        self._seq = position.seq
        return self._count(state, events)

    @property
    def _rests(self) -> bool:
        return 0 < self._rests_until - self._clock() <= REST_S  # not where the clock was set back

    def _recount(self, state: EngineState) -> EngineState:
        position, events = self._log.after(self._trained_seq, with_imports=False)
        self._seq, self._removals, self._early = position.seq, position.removals, []
        self._rests_until = self._clock() + REST_S
        return self._count(state, events)

    def _count(self, state: EngineState, events: EventColumns) -> EngineState:
        feedback = Feedback.of(events, self._rules)
        is_shown = (action == IMPRESSION for action in events.actions)
        kinds = feedback.interest.tolist(), is_shown, (feedback.exclusions >= 0).tolist()
        new = zip(events.item_ids, events.timestamps.tolist(), *kinds, strict=True)
        counted = [*self._early, *(one for one in new if one[0] and any(one[2:]))]
        item_nums = state.catalogue.vocabulary.numbers(one[0] for one in counted)
        unknown = np.flatnonzero(item_nums < 0)[-_MOST_EARLY:].tolist()
        self._early = [counted[row] for row in unknown]
        known = item_nums >= 0
        if not known.any():
            return state
        item_nums = item_nums[known]
        times = np.array([one[1] for one in counted])[known]
        chosen, shown, rejected = np.array([one[2:] for one in counted])[known].T
        state = with_reception(state, item_nums, shown, rejected)
        if not chosen.any():
            return state
        return with_interactions(state, item_nums[chosen], times[chosen])


def _put_back(state: EngineState, trained: EngineState) -> EngineState:
    new = np.arange(trained.num_items, state.num_items, dtype=np.int32)
    features = state.features.rows(new)
    models = {
        name: model.with_late(features)
        for name, model in trained.models.items()
        if isinstance(model, Popularity)
    }
    return replace(
        state,
        counts=put_rows(trained.counts, new, np.zeros_like(new)),
        models={**state.models, **models},
        reception=trained.reception.with_new(new),
    )


def with_reception(
    state: EngineState, item_nums: IntArray, shown: BoolArray, rejected: BoolArray
) -> EngineState:
    """A state that knows further rejections, and further impressions of items that nobody chose.

    Other impressions change nothing, so that what is kept does not grow with each of them. Without
    any event that counts it is the same state, which keeps what was derived from it.

    Of the E events, masks say which are impressions or negative.
    """
    counts = rejected | (shown & (state.counts[item_nums] == 0))
    if not counts.any():
        return state
    reception = state.reception.with_events(item_nums[counts], shown[counts], rejected[counts])
    return replace(state, reception=reception)


def with_interactions(
    state: EngineState, item_nums: IntArray, timestamps: TimeArray
) -> EngineState:
    """A copy of a state that counts further interactions (E,) with their times (E,)."""
    items, more = np.unique(item_nums, return_counts=True)
    items = items.astype(np.int32)
    counts = put_rows(state.counts, items, state.counts[items] + more)
    models = {
        name: model.with_interactions(item_nums, timestamps, counts)
        if isinstance(model, Popularity)
        else model
        for name, model in state.models.items()
    }
    return replace(state, counts=counts, models=models)


# Seconds between two looks for items that others wrote, where a look asks a server.
LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class ItemUpdater:
    """Adds posted items to a state.

    Args:
        tokens: the words and attributes of an item as tokens. Always given: the served generation
            may have a token table although the settings no longer have one.
        media: pictures and sounds of posted items that were encoded.
    """

    encoder: TextEncoder
    content: ContentConfig
    tokens: TokenReader
    media: PostedMedia = NO_POSTED_MEDIA

    def update(self, items: Sequence[Item], state: EngineState) -> EngineState:
        """The state with new items and other content of known ones; deleted ones come back.

        What was generated for an item stays while its texts are the same: a new price changes none.
        Items whose encoded fields and media files are the same keep their content vectors until
        the files are encoded again: otherwise a new price would cost an item its picture, and an
        encoder that is not exact to the last bit its ID.
        """
        numbers = state.catalogue.vocabulary.numbers(item.item_id for item in items)
        known, late = np.flatnonzero(numbers >= 0), list(items)
        before = [state.catalogue[number] for number in numbers[known].tolist()]
        for row, item in zip(known.tolist(), before, strict=True):
            late[row] = keep_generated(late[row], item)
        media, has_any = self.media.encode(late, state.fusion)
        fields = self.content.fields
        new = encode_new(late, self.encoder, state.codebooks, fields, state.fusion, media)
        read = (*fields, *self.content.media_fields)
        same = known[find_unchanged(before, [late[row] for row in known], read)].astype(np.int32)
        same = same[~has_any[same]]
        kept = new.put(same, state.features.rows(numbers[same]))
        return state.with_late(late, kept.read_by(self.tokens, late))


class LiveState:
    """A generation with rules, and the items posted and deleted since; safe for many threads.

    Args:
        item_version: version of the store's items that the generation was trained on.
        store: holds the items.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        state: EngineState,
        item_version: int,
        store: Store,
        updater: ItemUpdater,
        counts: LiveCounts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._current, self._item_version = state, item_version
        self._store, self._updater, self._counts = store, updater, counts
        self._writing = threading.Lock()
        self._seen_commit: int | None = None
        self._look_at = -math.inf
        # The state with all its items, the time [begin, end) in which the same ones are available,
        # and the state with the others hidden; at first no time.
        self._period = state, np.inf, -np.inf, state

    @property
    def current(self) -> EngineState:
        """The state with all items, those not available yet included; immutable."""
        return self._current

    def at(self, now: float) -> EngineState:
        """The state at a time in Unix seconds: items that are not available yet are hidden.

        Counts new events of the log first, see ``LiveCounts.count_new_events``.
        """
        self._count_new_events()
        base, (known, begin, end, available) = self._current, self._period
        if known is not base or not begin <= now < end:
            waiting, begin, end = base.catalogue.availability(now)
            available = base.with_hidden(waiting) if len(waiting) else base
            self._period = base, begin, end, available
        return available

    @property
    def item_version(self) -> int:
        """Version of the store's items up to which the state has all changes."""
        return self._item_version

    def catch_up(self, with_imports: bool = False) -> None:
        """Apply the changes of items and the events in the store since the last call.

        Items get their numbers in the order in which they first came to the store, deleted ones
        too, so that all engines of one generation number the items alike.

        What an import changed waits for the next generation unless ``with_imports``.
        """
        with self._writing:
            self._catch_up(with_imports)
            # Last, so that events of new items find them.
            self._current = self._counts.count_new_events(self._current)

    def read_items(self) -> None:
        """Apply the changes of items in the store, if anything was committed since the last call.

        Takes microseconds if nothing was, on SQLite. Where a look takes longer, as it asks a server
        or reads the items, calls within ``LOOK_EVERY_S`` of the last look do nothing.
        """
        now = self._clock()
        if now < self._look_at:
            return
        database = self._store.database
        commit = database.commit_number()  # before reading: a later commit is read again
        if commit is None or database.is_remote:
            self._look_at = now + LOOK_EVERY_S
        if commit is None or commit != self._seen_commit:
            with self._writing:
                self._catch_up(with_imports=False)
            self._seen_commit = commit

    def _count_new_events(self) -> None:
        # Not while another thread is writing.
        if self._counts.is_due and self._writing.acquire(blocking=False):
            try:
                with suppress(StorageError):  # The request is answered with the counts as they are.
                    self._current = self._counts.count_new_events(self._current)
            finally:
                self._writing.release()

    def add_items(self, items: Sequence[Item]) -> int:
        """Store items and add them to the state; of several with the same id, the last is stored.

        Returns:
            number of stored items.
        """
        return len(self._write(lambda: self._store.put_items(items)))

    def change_item(self, item_id: str, change: Callable[[Item], Item]) -> Item | None:
        """Store what ``change`` makes of an item, and put it into the state; None = unknown."""
        return next(iter(self._write(lambda: self._store.change_item(item_id, change))), None)

    def _write(self, write: Callable[[], ItemChanges]) -> Sequence[Item]:
        with self._writing:
            stored = write()
            if stored.after == self._item_version:
                self._apply(stored)
            else:
                self._read_own_write()
        return stored.items

    def delete_item(self, item_id: str) -> bool:
        """Delete an item from the store and hide it; False if the store does not have it."""
        with self._writing:
            deleted = self._store.delete_item(item_id)
            self._read_own_write()
        return deleted

    def put_rules(self, rules: Mapping[str, Rule | None]) -> list[str]:
        """Change rules in the store, see ``RuleTable.put``, and in the state."""
        with self._writing:
            changed = self._store.rules.put(rules)
            self._read_own_write()
        return changed

    def _read_own_write(self) -> None:
        with suppress(StorageError):  # it is stored; the next call reads it
            self._catch_up(with_imports=False)

    def _catch_up(self, with_imports: bool) -> None:
        self._apply(self._store.item_changes(self._item_version, with_imports))

    def _apply(self, changes: ItemChanges) -> None:
        deleted, state = changes.deleted, self._current
        known = state.catalogue.vocabulary
        items = [i for i in changes.items if i.item_id not in deleted or i.item_id not in known]
        if items:
            state = self._updater.update(items, state)
        if deleted:
            state = state.with_hidden(state.catalogue.vocabulary.numbers(sorted(deleted)))
        if changes.rules > state.rules.version:
            state = replace(state, rules=self._store.rules.read(state.rules))
        self._current, self._item_version = state, changes.version
