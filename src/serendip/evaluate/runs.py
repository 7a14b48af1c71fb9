"""Inputs of the evaluation: ranked lists of the systems, and the targets they should contain.

A target is one next event; its user made one request and every system answered it. This module is
independent of how answers are made. Ranks are 1-based; a rank of infinity means "not returned" and
is never dropped: a missing answer counts 0 in every relevance metric.
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


def _check_lists(name: str, lists: IntArray) -> None:
    """Raise DataError where a list shows an item twice; padding may repeat."""
    ordered = np.sort(lists, axis=1)
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
    """The answers of one system to T requests.

    Args:
        name: how the report calls the system.
        lists: (T, k) int32 item numbers, best first, padded with -1 where shorter.
        ranks: (T,) float64 rank of the target, 1-based, ties counted half, inf where absent.

    Raises:
        DataError: lengths differ, a list shows an item twice, or a rank is NaN or below 1.
    """

    name: str
    lists: IntArray
    ranks: Values

    def __post_init__(self) -> None:
        if self.lists.ndim != 2 or len(self.lists) != len(self.ranks):
            raise DataError(
                f"run {self.name!r}: lists of shape {self.lists.shape} for {len(self.ranks)} ranks."
            )
        if not (self.ranks >= 1).all():
            worst = float(self.ranks[~(self.ranks >= 1)][0])
            raise DataError(f"run {self.name!r}: rank {worst}.", "Ranks are 1-based; absent = inf.")
        _check_lists(self.name, self.lists)

    @classmethod
    def of_lists(cls, name: str, lists: IntArray, targets: IntArray) -> Run:
        """A run whose ranks are the places of the targets in its lists."""
        return cls(name, lists, ranks_from_lists(lists, targets))

    def __len__(self) -> int:
        return len(self.ranks)

    def where(self, mask: BoolArray) -> Run:
        """The requests that a mask (T,) keeps."""
        return Run(self.name, self.lists[mask], self.ranks[mask])


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The requests that every system answered, and what came next.

    Args:
        targets: (T,) int32 the item that came next.
        users: (T,) user of each request, strings or integers; the unit of all statistics.
        cuts: (T,) int index of the time cut that the request belongs to; zeros for one cut.
        flags: named (T,) bool columns that slices read, e.g. ``cold_item``.

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
                    f"column {name!r} has {len(column)} rows for {len(self.targets)} targets."
                )

    def __len__(self) -> int:
        return len(self.targets)

    def groups(self) -> Groups:
        """(T,) dense user numbers 0..U-1; a user seen at several cuts has one number."""
        return np.asarray(np.unique(self.users, return_inverse=True)[1], dtype=np.intp).reshape(-1)

    @property
    def num_users(self) -> int:
        """U, the number of distinct users."""
        return len(np.unique(self.users))

    def where(self, mask: BoolArray) -> Judged:
        """The requests that a mask (T,) keeps."""
        flags = {name: column[mask] for name, column in self.flags.items()}
        return Judged(self.targets[mask], self.users[mask], self.cuts[mask], flags)


def ranks_from_scores(
    scores: FloatArray, targets: IntArray, excluded: Sequence[IntArray] = ()
) -> Values:
    """Expected ranks of the targets among all items, ties counted half.

    rank = 1 + (items scored higher) + (other items scored equal) / 2. A constant scorer thus has
    the mean rank of a random one, and its place in a top-k never depends on the order of items.

    Args:
        scores: (B, N) float32; NaN and -inf mean "cannot be returned".
        targets: (B,) int32.
        excluded: per row the items that are not ranked, e.g. the history; empty = none at all.

    Returns:
        (B,) float64; inf where the target is excluded or has no score.
    """
    own = scores[np.arange(len(targets)), targets][:, None]
    higher = (scores > own).sum(axis=1).astype(np.float64)
    equal = (scores == own).sum(axis=1) - 1.0
    for row, items in enumerate(excluded):
        gone = np.unique(items)
        if (gone == targets[row]).any():
            higher[row] = np.inf
            continue
        higher[row] -= np.count_nonzero(scores[row, gone] > own[row, 0])
        equal[row] -= np.count_nonzero(scores[row, gone] == own[row, 0])
    ranks = 1.0 + higher + equal / 2.0
    usable = own[:, 0] > -np.inf
    return np.where(usable, ranks, np.inf)


def ranks_from_lists(lists: IntArray, targets: IntArray) -> Values:
    """1-based places of targets (T,) in lists (T, k), inf where absent."""
    found = lists == targets[:, None]
    if lists.shape[1] == 0:
        return np.full(len(targets), np.inf)
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1.0, np.inf)
