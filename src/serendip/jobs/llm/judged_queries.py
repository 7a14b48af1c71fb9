"""Labelled queries: the gain of items by number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from serendip.data import Vocabulary
from serendip.data.vocabulary import MISSING
from serendip.jobs.labels.pair_files import read_gains

JudgedQueries: TypeAlias = Mapping[str, Mapping[int, float]]
"""Query -> item number -> gain; at least one gain of a query is above 0."""


def with_gain(gains: JudgedQueries) -> JudgedQueries:
    """The queries that have a gain above 0."""
    return {text: by_item for text, by_item in gains.items() if max(by_item.values(), default=0)}


def read_judged_queries(path: Path, vocabulary: Vocabulary) -> dict[str, dict[int, float]]:
    """Query -> item number -> gain of a file of labels; rows of other items are left out.

    Raises:
        DataError: the file is missing or broken, or a label is unknown.
    """
    gains: dict[str, dict[int, float]] = {}
    for (query, item), gain in read_gains(path).items():
        number = vocabulary.number(item)
        if number != MISSING:
            gains.setdefault(query, {})[number] = gain
    return gains
