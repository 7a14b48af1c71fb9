"""Live counts: interactions, rejections and impressions of new items follow the log untrained.

A generation has the counts of the log that it was trained on. Events of the API appended since, by
this or by any other process, are read from the log in its order, each once, and change the counts
of a state and the models of popularity. Of new items, rejections and impressions are counted, too,
as they are new no longer after one, or after many. The log is read at most every ``FOLLOW_S``
seconds, so that a busy engine counts many events at once.

What an import appends repeats what is counted already and is left out. After an erasure, which
removes events that were counted, all events since the training are counted anew; after many of
them not more often than a share of the time allows. So a restart gives the same counts as following
all the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from serendip.data.arrays import BoolArray, IntArray, TimeArray
from serendip.data.events.event import ActionRules, EventColumns
from serendip.data.events.feedback import Feedback
from serendip.data.events.search_log import IMPRESSION
from serendip.data.items.reception import Reception
from serendip.data.rows.growing_rows import append_rows, replace_rows
from serendip.data.store.event_log.reader import EventLogReader
from serendip.engine.state import EngineState
from serendip.models.popularity import Popularity

FOLLOW_S = 0.5
"""Seconds between two readings of the log."""

RECOUNT_SHARE = 0.05
"""Share of the time in which everything since the training may be counted anew."""

_LONGEST_REST_S = 60.0
_MOST_EARLY = 10_000
"""Events that are kept until their items are known."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """An event that counts.

    Args:
        item_id: external id.
        time: Unix seconds.
        is_interaction: whether it shows interest.
        is_impression: whether the item was shown.
        is_rejection: whether it is negative.
    """

    item_id: str
    time: float
    is_interaction: bool
    is_impression: bool
    is_rejection: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Trained:
    """What a state counts before any event after its training.

    Args:
        counts: (N,) interactions of each item.
        popularity: name -> model that follows them.
        reception: of the items.
    """

    counts: IntArray
    popularity: Mapping[str, Popularity]
    reception: Reception

    @classmethod
    def of(cls, state: EngineState) -> Self:
        """The counts of a state."""
        models = state.models.items()
        popularity = {name: one for name, one in models if isinstance(one, Popularity)}
        return cls(state.counts, popularity, state.reception)

    def put_back(self, state: EngineState) -> EngineState:
        """A later state with these counts; items that are new in it have none."""
        numbers = np.arange(len(self.counts), state.num_items, dtype=np.int32)
        features = state.features.rows(numbers)
        models = {name: one.with_items(features) for name, one in self.popularity.items()}
        return replace(
            state,
            counts=append_rows(self.counts, np.zeros(len(numbers), np.int32)),
            models={**state.models, **models},
            reception=self.reception.with_items(len(numbers)),
        )


class LiveCounts:
    """Counts the events that were appended to a log after a training; not safe for many threads.

    Args:
        log: of the store.
        rules: which events are interactions.
        seq: number of the last event that the generation was trained on.
        clock: returns seconds.
    """

    def __init__(
        self,
        log: EventLogReader,
        rules: ActionRules,
        seq: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log, self._rules = log, rules
        self._trained_seq = self._seq = seq
        self._trained: _Trained | None = None
        self._removals = -1
        self._rests_until = -np.inf
        self._clock, self._followed_at = clock, -np.inf
        self._early: list[_Counted] = []  # of items that this engine does not know yet

    @property
    def is_due(self) -> bool:
        """Whether the log has not been read for ``FOLLOW_S`` seconds, or the clock was set back."""
        return not 0 <= self._clock() - self._followed_at < FOLLOW_S

    def follow(self, state: EngineState) -> EngineState:
        """The state with the events that were appended since the last call.

        Args:
            state: at first that of the generation, later what the last call returned, with items
                that were added since.
        """
        self._followed_at = self._clock()
        mark, events = self._log.posted_after(self._seq)
        if self._trained is None:
            self._trained, self._removals = _Trained.of(state), mark.removals
        elif mark.removals != self._removals and self._may_recount():
            return self._recount(self._trained.put_back(state))
        self._seq = mark.seq
        return self._count(state, events)

    def _recount(self, state: EngineState) -> EngineState:
        """Count everything since the training."""
        begun = self._clock()
        mark, events = self._log.posted_after(self._trained_seq)
        self._seq, self._removals, self._early = mark.seq, mark.removals, []
        state = self._count(state, events)
        ended = self._clock()
        self._rests_until = ended + min((ended - begun) / RECOUNT_SHARE, _LONGEST_REST_S)
        return state

    def _may_recount(self) -> bool:
        """Whether the rest after the last count of everything is over, or the clock was set."""
        return not 0 < self._rests_until - self._clock() <= _LONGEST_REST_S

    def _count(self, state: EngineState, events: EventColumns) -> EngineState:
        """The state with these events, and with earlier ones whose items are known by now."""
        new = [*self._early, *self._read(events)]
        item_nums = state.catalogue.vocabulary.numbers(one.item_id for one in new)
        unknown = np.flatnonzero(item_nums < 0)[-_MOST_EARLY:].tolist()
        self._early = [new[row] for row in unknown]
        known = np.flatnonzero(item_nums >= 0)
        if not len(known):
            return state
        times = np.array([one.time for one in new])
        shown = np.array([one.is_impression for one in new], np.bool_)
        rejected = np.array([one.is_rejection for one in new], np.bool_)
        chosen = known[[new[row].is_interaction for row in known.tolist()]]
        state = with_reception(state, item_nums[known], shown[known], rejected[known])
        return with_interactions(state, item_nums[chosen], times[chosen]) if len(chosen) else state

    def _read(self, events: EventColumns) -> list[_Counted]:
        """What was chosen, shown or rejected."""
        feedback = Feedback.of(events, self._rules)
        shown = np.array([action == IMPRESSION for action in events.actions], np.bool_)
        rejected = feedback.exclusions >= 0
        return [
            _Counted(
                events.item_ids[row],
                float(events.timestamps[row]),
                bool(feedback.interest[row]),
                bool(shown[row]),
                bool(rejected[row]),
            )
            for row in np.flatnonzero(feedback.interest | shown | rejected).tolist()
        ]


def with_reception(
    state: EngineState, item_nums: IntArray, shown: BoolArray, rejected: BoolArray
) -> EngineState:
    """A state that knows further rejections, and further impressions of items that nobody chose.

    Other impressions change nothing, so that what is kept does not grow with each of them. Without
    any event that counts it is the same state, which keeps what was derived from it.

    Args:
        state: the state.
        item_nums: (E,) items of the events.
        shown: (E,) bool, which are impressions.
        rejected: (E,) bool, which are negative.
    """
    counts = rejected | (shown & (state.counts[item_nums] == 0))
    if not counts.any():
        return state
    reception = state.reception.with_events(item_nums[counts], shown[counts], rejected[counts])
    return replace(state, reception=reception)


def with_interactions(
    state: EngineState, item_nums: IntArray, timestamps: TimeArray
) -> EngineState:
    """A copy of a state that counts further interactions.

    Args:
        state: the state.
        item_nums: (E,) items of the interactions.
        timestamps: (E,) their times.
    """
    items, more = np.unique(item_nums, return_counts=True)
    items = items.astype(np.int32)
    counts = replace_rows(state.counts, items, (state.counts[items] + more).astype(np.int32))
    models = {
        name: model.with_interactions(item_nums, timestamps, counts)
        if isinstance(model, Popularity)
        else model
        for name, model in state.models.items()
    }
    return replace(state, counts=counts, models=models)
