"""Live counts: interactions, rejections and impressions of new items follow the log untrained.

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

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from serendip.data import ActionRules, BoolArray, EventColumns, IntArray, TimeArray
from serendip.data.events.feedback import Feedback
from serendip.data.events.search_log import IMPRESSION
from serendip.data.rows.row_array import put_rows
from serendip.data.store.event_log.reader import LogReader
from serendip.engine.state import EngineState
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
