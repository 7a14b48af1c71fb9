"""Inputs of the evaluation: ranked lists of the systems, and the targets they should contain.

A target is one next event; its user made one request and every system answered it. Ranks are
1-based. A rank of infinity means "not returned" and stays in all means: a missing answer has the
value 0 in every ranking metric.

Shapes: T requests (one target each), U users, N items, B requests of a batch, k length of a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.errors import DataError

Values: TypeAlias = NDArray[np.float64]
Groups: TypeAlias = NDArray[np.intp]

PADDING = -1
"""Item number that fills lists with fewer than k items."""


def require_distinct(name: str, lists: IntArray) -> None:
    """Check that no list (T, k) of a run shows an item twice; padding may repeat.

    Raises:
        DataError: a list does.
    """
    ordered = np.sort(lists, axis=1)  # (T, k)
    repeats = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != PADDING)
    rows = np.flatnonzero(repeats.any(axis=1))
    if len(rows):
        item = int(ordered[rows[0], 1:][repeats[rows[0]]][0])
        raise DataError(
            f"run {name!r}: {len(rows)} lists show an item twice; the first is list {rows[0]}, "
            f"item {item}.",
            "Drop duplicates before judging: they would be counted as hits twice.",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Answers of one system to T requests.

    Args:
        name: name of the system in the report.
        lists: (T, k) int32 item numbers, best first, padded with -1.
        ranks: (T,) float64 rank of the target, 1-based, ties counted half, inf = absent.

    Raises:
        DataError: lengths differ, a list shows an item twice, or a rank is NaN or below 1.
    """

    name: str
    lists: IntArray
    ranks: Values

    def __post_init__(self) -> None:
        if self.lists.ndim != 2 or len(self.lists) != len(self.ranks):
            raise DataError(
                f"run {self.name!r} has lists of shape {self.lists.shape} "
                f"for {len(self.ranks)} ranks.",
                "Give one list, as a row, per rank.",
            )
        if not (self.ranks >= 1).all():
            invalid = float(self.ranks[~(self.ranks >= 1)][0])
            raise DataError(
                f"run {self.name!r} has the rank {invalid}.", "Ranks are 1-based; absent = inf."
            )
        require_distinct(self.name, self.lists)

    @classmethod
    def of_lists(cls, name: str, lists: IntArray, targets: IntArray) -> Run:
        """Build a run whose ranks are the positions of the targets in its lists."""
        return cls(name, lists, ranks_from_lists(lists, targets))

    def __len__(self) -> int:
        return len(self.ranks)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Requests of an evaluation, with their targets, users and slices.

    Args:
        targets: (T,) int32 next item of each request.
        users: (T,) user of each request, strings or integers; the sampling unit.
        cuts: (T,) int index of the time cut that the request belongs to; zeros for one cut.
        flags: name -> (T,) bool column from which slices are made, e.g. ``cold_item``.

    Raises:
        DataError: a column has another length.
    """

    targets: IntArray
    users: NDArray[Any]
    cuts: NDArray[np.integer[Any]]
    flags: Mapping[str, BoolArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = {"users": self.users, "cuts": self.cuts, **self.flags}
        for name, column in columns.items():
            if len(column) != len(self.targets):
                raise DataError(
                    f"column {name!r} has {len(column)} rows for {len(self.targets)} targets.",
                    "Give one row per target.",
                )

    def __len__(self) -> int:
        return len(self.targets)

    def groups(self) -> Groups:
        """Number the users from 0 to U - 1: (T,); a user has the same number at every cut."""
        return np.asarray(np.unique(self.users, return_inverse=True)[1], dtype=np.intp).reshape(-1)

    @property
    def num_users(self) -> int:
        """U, the number of distinct users."""
        return len(np.unique(self.users))


def ranks_from_scores(
    scores: FloatArray, targets: IntArray, excluded: Sequence[IntArray] = ()
) -> Values:
    """Expected ranks of the targets among all items, ties counted half.

    rank = 1 + (items scored higher) + (other items scored equal) / 2. So a constant scorer has the
    mean rank of a random one, and ranks do not depend on the order of items.

    Args:
        scores: (B, N) float32; NaN and -inf mean "cannot be returned".
        targets: (B,) int32.
        excluded: items of each row that are not ranked, e.g. the history; empty = none.

    Returns:
        (B,) float64; inf if the target is excluded or has no score.
    """
    target_scores = scores[np.arange(len(targets)), targets][:, None]  # (B, 1)
    higher = (scores > target_scores).sum(axis=1).astype(np.float64)  # (B,)
    equal = (scores == target_scores).sum(axis=1) - 1.0  # (B,) without the target itself
    for row, items in enumerate(excluded):
        distinct = np.unique(items)
        if (distinct == targets[row]).any():
            higher[row] = np.inf
            continue
        higher[row] -= np.count_nonzero(scores[row, distinct] > target_scores[row, 0])
        equal[row] -= np.count_nonzero(scores[row, distinct] == target_scores[row, 0])
    ranks = 1.0 + higher + equal / 2.0
    has_score = target_scores[:, 0] > -np.inf
    return np.where(has_score, ranks, np.inf)


def ranks_from_lists(lists: IntArray, targets: IntArray) -> Values:
    """1-based ranks (T,) of targets (T,) in lists (T, k), inf if absent."""
    is_target = lists == targets[:, None]  # (T, k)
    if lists.shape[1] == 0:
        return np.full(len(targets), np.inf)
    return np.where(is_target.any(axis=1), is_target.argmax(axis=1) + 1.0, np.inf)
