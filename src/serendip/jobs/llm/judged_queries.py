"""Held-out queries that generated texts are tested by.

The log is cut in time (``CUT``): queries that never occur before that test the texts. Of texts that
consist of written queries no cut says what they were made from: the gate leaves out queries that
they contain.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from serendip.data.dataset import Dataset
from serendip.data.events.search_log import SUGGESTED, LoggedRequest
from serendip.data.text import normalise
from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.errors import DataError
from serendip.jobs.labels.pair_files import read_rows

GAINS: Mapping[str, float] = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}


_GAINS: Mapping[str, float] = {**GAINS, "good": 1.0, "bad": 0.0}
_COLUMNS = ("query", "item_id", "label")


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


def read_gains(
    path: Path, vocabulary: Vocabulary, excluded: set[str]
) -> dict[str, dict[int, float]]:
    """Read query -> item number -> gain from a file with ``query``, ``item_id`` and ``label``.

    Labels are E, S, C, I or good, bad. Rows of other items are left out, and queries that,
    normalised, are excluded.

    Raises:
        DataError: the file is missing or broken, or a label is unknown.
    """
    gains: dict[str, dict[int, float]] = {}
    for query, item, label in read_rows(path, _COLUMNS):
        if label not in _GAINS:
            raise DataError(
                f"{path} has the unknown label {label!r}.", f"Use one of {', '.join(_GAINS)}."
            )
        number = int(vocabulary.numbers([item])[0])
        if number != MISSING and normalise(query) not in excluded:
            gains.setdefault(query, {})[number] = _GAINS[label]
    return gains


def _select_searches(dataset: Dataset) -> list[LoggedRequest]:
    """Searches that led to a choice, without prefixes after which a suggested title was taken."""
    return [
        request
        for request in dataset.requests
        if request.text.strip() and len(request.chosen) and request.surface != SUGGESTED
    ]
