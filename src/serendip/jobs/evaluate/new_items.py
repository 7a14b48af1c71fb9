"""Reads what the data say of the items that appeared after the cut of a split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from serendip.data.arrays import IntArray, TimeArray
from serendip.data.dataset import Dataset
from serendip.data.items.starts import DAY_S, find_starts
from serendip.data.splits import Split
from serendip.evaluate.new_items import (
    FIRST_DAYS,
    ItemEvents,
    NewItemFigures,
    NewItems,
    Replay,
    measure_new_items,
)


def evaluate_new_items(
    dataset: Dataset, split: Split, lists: Mapping[str, IntArray], seed: int
) -> NewItemFigures:
    """Measure the new items of a temporal split.

    Args:
        dataset: that was split.
        split: with a cut; new are the items that it does not train on and that appeared from the
            cut on.
        lists: system -> its lists (T, 10) for all targets of the split.
        seed: of the bootstrap.
    """
    new, numbers = _read_new_items(dataset, split)
    targets = split.targets
    replay = Replay.of(lists, targets.items, targets.times, numbers, len(split.catalogue))
    return measure_new_items(new, replay, FIRST_DAYS, seed)


def _read_new_items(dataset: Dataset, split: Split) -> tuple[NewItems, IntArray]:
    """The new items (M,), and their numbers in the split."""
    candidates = np.arange(split.train.num_items, len(split.catalogue), dtype=np.int32)
    ids = split.catalogue.vocabulary.ids_of(candidates)
    in_dataset = dataset.catalogue.vocabulary.numbers(ids)
    available_from = np.asarray(dataset.catalogue.available_from)[in_dataset]
    begins = find_starts(dataset)[in_dataset]
    appeared = np.isfinite(begins) & (begins >= (split.cut or -np.inf))
    logs = (dataset.events, dataset.impressions)
    end = max((float(log.timestamps[-1]) for log in logs if len(log)), default=-np.inf)
    is_whole = begins + FIRST_DAYS * DAY_S <= end
    kept = np.flatnonzero(appeared & is_whole)
    places = np.full(dataset.num_items, -1, np.int32)
    places[in_dataset[kept]] = np.arange(len(kept))
    impressions = dataset.impressions
    new = NewItems(
        begins[kept],
        np.isfinite(available_from[kept]),
        _events_of(places, dataset.events.items, dataset.events.timestamps),
        _events_of(places, impressions.items, impressions.timestamps) if len(impressions) else None,
        int((appeared & ~is_whole).sum()),
    )
    return new, candidates[kept]


def _events_of(places: IntArray, items: IntArray, times: TimeArray) -> ItemEvents:
    """Events (E,) of the items that have a place."""
    of_events = places[items]
    return ItemEvents(of_events[of_events >= 0], times[of_events >= 0])
