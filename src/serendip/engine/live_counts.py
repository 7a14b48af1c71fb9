"""Live counts: interactions with items follow the log, without training.

A generation has the counts of the log that it was trained on. Events appended since, by this or by
any other process, are read from the log in its order, each once, and change the counts of a state
and the models of popularity. So a restart gives the same counts as following all the time. The log
is read at most every ``FOLLOW_S`` seconds, so that a busy engine counts many events at once.

An import, which removes events and appends others, repeats what is counted already, and an erasure
takes away what is: then what was appended until that is noticed is left out, and the counts go on
with the events after it, until the next training counts everything anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from serendip.data.arrays import IntArray, TimeArray
from serendip.data.event import ActionRules
from serendip.data.feedback import Feedback
from serendip.data.growing_rows import replace_rows
from serendip.data.store.log_reader import EventLogReader
from serendip.engine.state import EngineState
from serendip.models.popularity import Popularity

FOLLOW_S = 0.5
"""Seconds between two readings of the log."""

_MOST_EVENTS = 2**31 - 1
_MOST_EARLY = 10_000
"""Interactions that are kept until their items are known."""


class LiveCounts:
    """Counts the events that were appended to a log after a training; not safe for many threads.

    Args:
        log: of the store.
        rules: which events are interactions.
        seq: number of the last event that the generation was trained on.
        removals: number of imports and erasures before the training; -1 = not known.
        clock: returns seconds.
    """

    def __init__(
        self,
        log: EventLogReader,
        rules: ActionRules,
        seq: int,
        removals: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log, self._rules = log, rules
        self._seq, self._removals = seq, removals
        self._clock, self._followed_at = clock, -np.inf
        # Interactions with items that this engine does not know yet: (external id, time).
        self._early: list[tuple[str, float]] = []

    @property
    def is_due(self) -> bool:
        """Whether the log has not been read for ``FOLLOW_S`` seconds, or the clock was set back."""
        return not 0 <= self._clock() - self._followed_at < FOLLOW_S

    def follow(self, state: EngineState) -> EngineState:
        """The state with the events that were appended since the last call."""
        self._followed_at = self._clock()
        mark, events, _ = self._log.after(self._seq, _MOST_EVENTS)
        is_same_log, self._removals = mark.removals == self._removals, mark.removals
        self._seq = mark.seq
        if not is_same_log:
            return state
        rows = np.flatnonzero(Feedback.of(events, self._rules).interest).tolist()
        new = [(events.item_ids[row], float(events.timestamps[row])) for row in rows]
        new = [*self._early, *new]
        item_nums = state.catalogue.vocabulary.numbers(item_id for item_id, _ in new)
        unknown = np.flatnonzero(item_nums < 0)[-_MOST_EARLY:].tolist()
        self._early = [new[row] for row in unknown]
        known = np.flatnonzero(item_nums >= 0)
        if not len(known):
            return state
        times = np.array([time for _, time in new])
        return with_interactions(state, item_nums[known], times[known])


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
