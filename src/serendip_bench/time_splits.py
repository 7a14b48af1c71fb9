"""A log cut at two moments: learned from, validated on, asked for; all items in one numbering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serendip.data.arrays import BoolArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.query import Query
from serendip.data.splits import MAX_TARGETS_PER_USER, Split, Targets, temporal
from serendip_bench.qrels import Relevance
from serendip_bench.splits import RequestSet, renumbered

LEARNED, VALIDATED = 0.7, 0.8
"""Shares of the events by time: the first part is learned from, what lies between validates."""


@dataclass(frozen=True, slots=True, eq=False)
class ValidationAndTest:
    """The same task before and after the later moment.

    Args:
        validation: requests between the moments.
        test: requests after the later one.
    """

    validation: RequestSet
    test: RequestSet


@dataclass(frozen=True, slots=True, eq=False)
class TimedSplit:
    """What is learned from, and what happened afterwards.

    Args:
        split: at the earlier moment; its catalogue numbers all items.
        numbers: (N,) place in the dataset of each of these items.
        home: every first event of a user with an item, from what the user had done strictly
            before; at most the first hundred of a user in each part, mean per user.
        similar: an item that a user liked asks, alone, for the one that the user liked next in
            the same part; as many at most, mean per user.
    """

    split: Split
    numbers: IntArray
    home: ValidationAndTest
    similar: ValidationAndTest

    @classmethod
    def of(cls, dataset: Dataset) -> TimedSplit:
        """Cut at ``LEARNED`` and ``VALIDATED``."""
        split, newest = temporal(dataset, LEARNED, VALIDATED), temporal(dataset, VALIDATED)
        assert split.cut is not None
        assert newest.cut is not None
        ids = [item.item_id for item in split.catalogue.items]
        numbers = dataset.catalogue.vocabulary.numbers(ids)
        place = np.argsort(numbers).astype(np.int32)
        begin, end = np.searchsorted(dataset.events.timestamps, (split.cut, newest.cut))
        row = np.arange(len(dataset.events))
        later = split.catalogue.vocabulary.numbers(item.item_id for item in newest.catalogue.items)
        return cls(
            split,
            numbers,
            ValidationAndTest(
                _next_items(split.targets), renumbered(_next_items(newest.targets), later)
            ),
            ValidationAndTest(
                _liked_next(dataset, place, (row >= begin) & (row < end)),
                _liked_next(dataset, place, row >= end),
            ),
        )


def _next_items(targets: Targets) -> RequestSet:
    return RequestSet(targets.queries(), targets.items, _each(targets.users))


def _liked_next(dataset: Dataset, place: IntArray, part: BoolArray) -> RequestSet:
    """Of the events of a ``part`` (E,); ``place`` (N,) is from old item numbers to new ones."""
    log = dataset.events.rows(part & dataset.events.liked)
    order = np.argsort(log.users, kind="stable")
    users, items = log.users[order], place[log.items[order]]
    is_pair = (users[1:] == users[:-1]) & (items[1:] != items[:-1])
    asked = np.arange(len(users)) - np.searchsorted(users, users)
    rows = np.flatnonzero(is_pair & (asked[:-1] < MAX_TARGETS_PER_USER))
    sources = [items[row : row + 1] for row in rows.tolist()]
    queries = [Query("similar", source_items=item, exclude=item) for item in sources]
    return RequestSet(queries, items[rows + 1], _each(users[rows].tolist()))


def _each(users: Sequence[Any]) -> Relevance:
    """Every row a request of its own."""
    units = np.unique(np.array(users), return_inverse=True)[1]
    return Relevance(np.arange(len(users)), np.asarray(units, np.intp), np.ones(len(users)))
