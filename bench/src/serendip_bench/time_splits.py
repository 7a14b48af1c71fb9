"""Temporal splits: a log cut at two times into training, validation and test.

Shapes: E events, T requests, N items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serendip.data import BoolArray, Dataset, IntArray, Query
from serendip.data.splits import MAX_TARGETS_PER_USER, Split, Targets, temporal
from serendip_bench.qrels import Relevance
from serendip_bench.splits import RequestSet, renumber

TRAIN_END, VALIDATION_END = 0.7, 0.8
"""Shares of the events, by time, at which training and validation end."""


@dataclass(frozen=True, slots=True, eq=False)
class ValidationAndTest:
    """Validation and test requests of one task.

    Args:
        validation: between the two cuts.
        test: after the later cut.
    """

    validation: RequestSet
    test: RequestSet


@dataclass(frozen=True, slots=True, eq=False)
class TimedSplit:
    """A temporal split with the requests of two tasks.

    Args:
        split: at the earlier cut; its catalogue numbers all items.
        numbers: (N,) number in the dataset of each of these items.
        home: the target is a user's first event with an item, the history what the user did
            strictly before; up to 100 per user and part, averaged per user.
        similar: the source is an item that a user liked, the target the item that the user liked
            next in the same part; up to 100 per user and part, averaged per user.
    """

    split: Split
    numbers: IntArray
    home: ValidationAndTest
    similar: ValidationAndTest

    @classmethod
    def of(cls, dataset: Dataset) -> TimedSplit:
        """Cut at ``TRAIN_END`` and ``VALIDATION_END``."""
        split, newest = (
            temporal(dataset, TRAIN_END, VALIDATION_END),
            temporal(dataset, VALIDATION_END),
        )
        ids = [item.item_id for item in split.catalogue.items]
        numbers = dataset.catalogue.vocabulary.numbers(ids)
        number = np.argsort(numbers).astype(np.int32)
        begin, end = np.searchsorted(dataset.events.timestamps, (split.cut, newest.cut))
        row = np.arange(len(dataset.events))
        later = split.catalogue.vocabulary.numbers(item.item_id for item in newest.catalogue.items)
        return cls(
            split,
            numbers,
            ValidationAndTest(
                _to_requests(split.targets), renumber(_to_requests(newest.targets), later)
            ),
            ValidationAndTest(
                _build_similar_requests(dataset, number, (row >= begin) & (row < end)),
                _build_similar_requests(dataset, number, row >= end),
            ),
        )


def _to_requests(targets: Targets) -> RequestSet:
    return RequestSet(targets.queries(), targets.items, _group_by_user(targets.users))


def _build_similar_requests(dataset: Dataset, number: IntArray, part: BoolArray) -> RequestSet:
    """Pairs of successively liked items of a user, among the events of one part.

    Args:
        dataset: unsplit.
        number: (N,) old item number -> new one.
        part: (E,) events.
    """
    log = dataset.events.rows(part & dataset.events.liked)
    order = np.argsort(log.users, kind="stable")
    users, items = log.users[order], number[log.items[order]]  # (likes,)
    is_pair = (users[1:] == users[:-1]) & (items[1:] != items[:-1])
    position = np.arange(len(users)) - np.searchsorted(users, users)  # of a like among its user's
    rows = np.flatnonzero(is_pair & (position[:-1] < MAX_TARGETS_PER_USER))
    sources = [items[row : row + 1] for row in rows.tolist()]
    queries = [Query("similar", source_items=item, exclude=item) for item in sources]
    return RequestSet(queries, items[rows + 1], _group_by_user(users[rows].tolist()))


def _group_by_user(users: Sequence[Any]) -> Relevance:
    """Every row is a request; ``users`` group them."""
    groups = np.unique(np.array(users), return_inverse=True)[1]
    return Relevance(np.arange(len(users)), np.asarray(groups, np.intp), np.ones(len(users)))
