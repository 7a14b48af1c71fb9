"""Whether a training is worse than an earlier one, on the requests that both have answered.

Every surface and every slice of it is compared, by the paired differences of nDCG@10 per user. With
b the earlier mean and d the mean difference, a slice is **worse** if

- the interval of d lies below 0, and
- d is below -margin x b,

where the intervals hold at 95 % for all m comparisons together (Bonferroni: each at 1 - .05 / m),
because among fifty comparisons some are below 0 by chance. Slices of fewer than 50 users are not
compared: their intervals would say nothing.

Shapes: T requests, U users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.evaluate.comparison import MIN_USERS
from serendip.evaluate.intervals import estimate_difference, per_user
from serendip.evaluate.runs import Values
from serendip.evaluate.surface_quality import ALL
from serendip.jobs.surface_quality.record import (
    LISTS,
    METRIC,
    QualityRecord,
    RecordedSurface,
)


@dataclass(frozen=True, slots=True)
class SliceChange:
    """Difference of one slice of one surface; see the module's docstring.

    Args:
        surface: name.
        slice_name: ``all`` or a part of the requests.
        before: mean of the earlier training.
        difference: mean of the later one minus ``before``.
        low: lower end of the interval of the difference.
        high: upper end.
        n: number of users.
        is_worse: whether it is worse by more than the margin.
    """

    surface: str
    slice_name: str
    before: float
    difference: float
    low: float
    high: float
    n: int
    is_worse: bool

    def __str__(self) -> str:
        is_list = self.surface == LISTS
        name = self.slice_name if is_list else f"{self.surface}, {self.slice_name}: {METRIC}"
        return (
            f"{name} {self.before:.4f} -> "
            f"{self.before + self.difference:.4f} ({self.difference:+.4f}, "
            f"{self.low:+.4f} to {self.high:+.4f}, {self.n} {'lists' if is_list else 'users'})"
        )


def compare_records(
    after: QualityRecord, before: QualityRecord, margin: float
) -> list[SliceChange]:
    """Compare all slices of all surfaces that both have with at least 50 common users.

    Args:
        after: of the later training.
        before: of the earlier one.
        margin: largest tolerated loss, as a share of the earlier value.
    """
    pairs = [
        (name, slice_name, users)
        for name in after.surfaces
        if name in before.surfaces
        for slice_name, users in _pair(after.surfaces[name], before.surfaces[name]).items()
        if len(users) >= MIN_USERS
    ]
    return [
        _change(name, slice_name, users, margin, len(pairs)) for name, slice_name, users in pairs
    ]


def compare_surface(name: str, after: QualityRecord, before: QualityRecord) -> SliceChange | None:
    """Compare all requests of one surface, on its own: worse is any loss that is shown.

    Returns:
        the change; None if the two have fewer than 50 common users there.
    """
    if name not in after.surfaces or name not in before.surfaces:
        return None
    users = _pair(after.surfaces[name], before.surfaces[name]).get(ALL, np.empty((0, 2)))
    return _change(name, ALL, users, 0.0, 1) if len(users) >= MIN_USERS else None


def _pair(after: RecordedSurface, before: RecordedSurface) -> dict[str, Values]:
    """Slice -> means (U, 2) of the later and the earlier training over the common requests."""
    _, new, old = np.intersect1d(after.keys, before.keys, return_indices=True)
    earlier = before.slices.tolist()
    users = {}
    for column, name in enumerate(after.slices.tolist()):
        if name not in earlier:
            continue
        both = np.column_stack(
            [after.values[new, column], before.values[old, earlier.index(name)]]
        )  # (T, 2)
        rows = ~np.isnan(both).any(axis=1)
        groups = np.unique(after.users[new][rows], return_inverse=True)[1].reshape(-1)
        users[name] = per_user(both[rows], groups) if rows.any() else both[rows]
    return users


def _change(
    surface: str, slice_name: str, users: Values, margin: float, comparisons: int
) -> SliceChange:
    before = float(users[:, 1].mean())
    found = estimate_difference(users[:, 0] - users[:, 1], comparisons)
    assert found.value is not None and found.low is not None and found.high is not None
    is_worse = found.high < 0.0 and found.value < -margin * before
    return SliceChange(
        surface, slice_name, before, found.value, found.low, found.high, found.n, is_worse
    )


def describe_worst(changes: Sequence[SliceChange]) -> str:
    """The slices that are worse, those of the largest relative loss first; else a summary."""
    worse = sorted(
        (change for change in changes if change.is_worse),
        key=lambda change: change.difference / change.before,
    )
    if worse:
        return "; ".join(map(str, worse))
    if not changes:
        return f"nothing to compare: no surface has {MIN_USERS} users whom both were asked about"
    least = min(changes, key=lambda change: change.difference / max(change.before, 1e-9))
    return f"{len(changes)} slices compared; the largest loss is {least}"
