"""Popularity baseline: items by number of events, optionally of a recent time window.

Events after the training are counted one by one (``with_interactions``): a window moves on with the
newest of them, and events that leave it lose their weight.

Shapes: N items, E events, M items whose scores change.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data import Artefact, Dataset, ItemFeatures, Query, put_rows
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, TimeArray
from serendip.data.items.quality import catalogue_prior, has_ratings
from serendip.models.base import Recommender
from serendip.models.query_scores import PriorOrder, PriorScores, QueryScores
from serendip.runtime.progress import TrainOptions

_SECONDS_PER_DAY = 86_400.0

RECENT = "popularity-recent"
"""Name of the model that counts the last days; every engine has it."""

_UNRATED, _RATED = 0.005, 10.0
"""Events that the best item of a catalogue counts as: less than an old one; where it has ratings,
as many as the prior of a mean."""


_PRIOR = 0.01
"""Weight of an event before the window, so that items without recent events have an order."""


class PopularityConfig(Config):
    """Time window of the events that count."""

    window_days: float | None = Field(default=None, gt=0)
    """Length of the window, in days before the last event of the log; None = the whole log."""


class Popularity(Recommender):
    """Score = log(1 + weighted number of events), the same for every query.

    A catalogue without events is ordered by what it tells of its items (``catalogue_prior``), which
    adds less than any event. Its ratings count as a few old events, however many there are.
    """

    name = "popularity"
    config_class = PopularityConfig
    label = "Popularity"
    score_kind = "prior"
    state = ("_order", "_prior", "_window")
    config: PopularityConfig
    zero_means_unknown = False

    @property
    def source_label(self) -> str:
        """Label as a candidate source: of all time, or of late."""
        return "what is popular" + (" of late" if self.config.window_days is not None else "")

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        events, counts = dataset.events, dataset.item_counts()  # (N,)
        self._window = Window.of(events.timestamps, events.items, self.window_s, len(counts))
        most = _UNRATED
        if has_ratings(dataset):
            most = _RATED * (1.0 if self.config.window_days is None else _PRIOR)
        self._prior = catalogue_prior(dataset) * np.float32(most)  # (N,)
        self._order = PriorOrder(self._compute_scores(counts, self._window.counts, self._prior))

    def with_interactions(
        self, item_nums: IntArray, timestamps: TimeArray, counts: IntArray
    ) -> Self:
        """Copy that counts interactions (E,) since the training as if it had been trained on them.

        ``counts`` (N,) are all interactions per item, these included.
        """
        model = copy.copy(self)
        model._window, moved = self._window.with_events(timestamps, item_nums)
        touched = np.union1d(item_nums, moved).astype(np.int32)
        scores = self._compute_scores(
            counts[touched], model._window.counts[touched], self._prior[touched]
        )
        model._order = self._order.put(touched, scores)
        return model

    @property
    def window_s(self) -> float:
        """Length of the window in seconds; infinite = the whole log."""
        days = self.config.window_days
        return np.inf if days is None else days * _SECONDS_PER_DAY

    def _compute_scores(self, counts: IntArray, recent: IntArray, prior: FloatArray) -> FloatArray:
        """(M,) scores of items with (M,) interactions, (M,) of them in the window, and more."""
        weighted = prior + recent + _PRIOR * (counts.astype(np.float64) - recent)
        return np.log1p(weighted).astype(np.float32)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        return np.tile(self._order.scores, (len(queries), 1))  # (B, N)

    def _query_scores(self, queries: Sequence[Query]) -> QueryScores:
        return PriorScores(self._order, len(queries))

    def _with_late(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        model, new = copy.copy(self), item_nums[item_nums >= self._num_items]
        none = np.zeros(len(new), np.float32)
        model._order = self._order.put(new, none)
        model._prior = put_rows(self._prior, new, none)
        model._window = replace(self._window, counts=put_rows(self._window.counts, new, none))
        return model


@dataclass(frozen=True, slots=True, eq=False)
class Window(Artefact):
    """Events of the last days of a log.

    Without a limit all events are in the window, and none is kept, as none ever leaves it.

    Args:
        length: of the window, in seconds; infinite = no limit.
        counts: (N,) int32 events of each item in the window.
        times: (E,) float64 times of the trained events in the window, non-decreasing.
        items: (E,) int32 items of these events.
        left: number of these events that have left the window since.
        newer_times: (F,) float64 times of the later events in the window.
        newer_items: (F,) int32 items of these.
    """

    length: float
    end: float
    counts: IntArray
    times: TimeArray
    items: IntArray
    left: int = 0
    newer_times: TimeArray = field(default_factory=lambda: np.empty(0))
    newer_items: IntArray = field(default_factory=lambda: NO_ITEMS)

    @classmethod
    def of(cls, times: TimeArray, items: IntArray, length: float, num_items: int) -> Self:
        """The window of a log (E,), ordered by time, of N items."""
        end = float(times[-1]) if len(times) else -np.inf
        recent = slice(int(np.searchsorted(times, end - length, side="right")), None)
        counts = np.bincount(items[recent], minlength=num_items).astype(np.int32)
        if np.isinf(length):
            return cls(length, end, counts, np.empty(0), NO_ITEMS)
        return cls(length, end, counts, times[recent], items[recent])

    def with_events(self, times: TimeArray, items: IntArray) -> tuple[Self, IntArray]:
        """A copy after later events (G,), and the items of the events that left or entered it."""
        end = max(self.end, float(times.max(initial=-np.inf)))
        begin = end - self.length
        left = int(np.searchsorted(self.times, begin, side="right"))
        stays, enters = self.newer_times > begin, times > begin
        leaving = np.concatenate([self.items[self.left : left], self.newer_items[~stays]])
        entering = items[enters]
        moved = np.union1d(leaving, entering).astype(np.int32)
        change = np.zeros(len(moved), np.int32)
        np.add.at(change, np.searchsorted(moved, entering), 1)
        np.subtract.at(change, np.searchsorted(moved, leaving), 1)
        window = replace(
            self,
            end=end,
            counts=put_rows(self.counts, moved, self.counts[moved] + change),
            left=left,
        )
        if np.isinf(self.length):
            return window, moved
        newer_times = np.concatenate([self.newer_times[stays], times[enters]])
        newer_items = np.concatenate([self.newer_items[stays], entering])
        return replace(window, newer_times=newer_times, newer_items=newer_items), moved
