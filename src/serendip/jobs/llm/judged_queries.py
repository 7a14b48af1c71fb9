"""Held-out queries that generated texts are tested by.

The log is cut in time (``CUT``): queries that never occur before that test the texts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeAlias

from serendip.data import Dataset, Vocabulary
from serendip.data.events.search_log import SUGGESTED, LoggedRequest
from serendip.data.text import normalise
from serendip.data.vocabulary import MISSING
from serendip.jobs.labels.pair_files import read_gains

JudgedQueries: TypeAlias = Mapping[str, Mapping[int, float]]
"""Query -> item number -> gain; at least one gain of a query is above 0."""


def with_gain(gains: JudgedQueries) -> JudgedQueries:
    """The queries that have a gain above 0."""
    return {text: by_item for text, by_item in gains.items() if max(by_item.values(), default=0)}


CUT = 0.7


def cut_time(dataset: Dataset) -> float:
    """Unix seconds of the cut."""
    times = dataset.events.timestamps
    return float(times[int(CUT * len(times))]) if len(times) else 0.0


def read_held_out_queries(dataset: Dataset, cut: float) -> JudgedQueries:
    """Queries that occur only from ``cut`` on, with the items that were chosen after them."""
    earlier = collect_earlier_queries(dataset, cut)
    gains: dict[str, dict[int, float]] = {}
    for search in _select_searches(dataset):
        text = normalise(search.text)
        if search.timestamp >= cut and text not in earlier:
            gains.setdefault(text, {}).update(dict.fromkeys(search.chosen.tolist(), 1.0))
    return with_gain(gains)


def collect_earlier_queries(dataset: Dataset, cut: float) -> set[str]:
    """All normalised queries before ``cut``."""
    searches = _select_searches(dataset)
    return {normalise(search.text) for search in searches if search.timestamp < cut}


def read_judged_queries(
    path: Path, vocabulary: Vocabulary, excluded: Collection[str] = ()
) -> dict[str, dict[int, float]]:
    """Query -> item number -> gain of a file of labels.

    Rows of other items are left out, and queries that, normalised, are excluded.

    Raises:
        DataError: the file is missing or broken, or a label is unknown.
    """
    gains: dict[str, dict[int, float]] = {}
    for (query, item), gain in read_gains(path).items():
        number = int(vocabulary.numbers([item])[0])
        if number != MISSING and normalise(query) not in excluded:
            gains.setdefault(query, {})[number] = gain
    return gains


def _select_searches(dataset: Dataset) -> list[LoggedRequest]:
    """Searches that led to a choice, without prefixes after which a suggested title was taken."""
    return [
        request
        for request in dataset.requests
        if request.text.strip() and len(request.chosen) and request.surface != SUGGESTED
    ]
