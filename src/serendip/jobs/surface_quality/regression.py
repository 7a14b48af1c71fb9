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
from dataclasses import replace

import numpy as np

from serendip.evaluate.comparison import MIN_USERS
from serendip.evaluate.decision import Decision, choose
from serendip.evaluate.intervals import per_user
from serendip.evaluate.runs import Values
from serendip.evaluate.surface_quality import ALL
from serendip.jobs.surface_quality.record import (
    LISTS,
    METRIC,
    QualityRecord,
    RecordedSurface,
)


def compare_records(after: QualityRecord, before: QualityRecord, margin: float) -> list[Decision]:
    """Compare all slices of all surfaces that both have with at least 50 common users.

    Args:
        after: of the later training.
        before: of the earlier one.
        margin: largest tolerated loss, as a share of the earlier value.

    Returns:
        whether each slice may be what it is now.
    """
    pairs = [
        (slice_name if name == LISTS else f"{name}, {slice_name}: {METRIC}", users)
        for name in after.surfaces
        if name in before.surfaces
        for slice_name, users in _pair(after.surfaces[name], before.surfaces[name]).items()
        if len(users) >= MIN_USERS
    ]
    return [_judge(name, users, margin, len(pairs)) for name, users in pairs]


def compare_surface(name: str, after: QualityRecord, before: QualityRecord) -> Decision | None:
    """Compare all requests of one surface, on its own: off is any loss that is shown.

    Returns:
        the decision; None if the two have fewer than 50 common users there.
    """
    if name not in after.surfaces or name not in before.surfaces:
        return None
    users = _pair(after.surfaces[name], before.surfaces[name]).get(ALL, np.empty((0, 2)))
    return _judge(f"{name}, {ALL}: {METRIC}", users, 0.0, 1) if len(users) >= MIN_USERS else None


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


def _judge(name: str, users: Values, margin: float, tests: int) -> Decision:
    found = choose(name, users[:, 1], users[:, 0], tests=tests)
    assert found.high is not None and found.gain is not None and found.without is not None
    return replace(found, on=not (found.high < 0.0 and found.gain < -margin * found.without))


def describe_change(change: Decision) -> str:
    """Name, both values, the difference with its interval, and how many users or lists."""
    before, gain = change.without or 0.0, change.gain or 0.0
    return (
        f"{change.name} {before:.4f} -> {before + gain:.4f} ({gain:+.4f}, {change.low or 0:+.4f} "
        f"to {change.high or 0:+.4f}, {change.n} "
        f"{'users' if change.name.endswith(METRIC) else 'lists'})"
    )


def describe_worst(changes: Sequence[Decision]) -> str:
    """The slices that are worse, those of the largest relative loss first; else a summary."""

    def relative(change: Decision) -> float:
        return (change.gain or 0.0) / max(change.without or 0.0, 1e-9)

    if not changes:
        return f"nothing to compare: no surface has {MIN_USERS} users whom both were asked about"
    worse = sorted((change for change in changes if not change.on), key=relative)
    if worse:
        return "; ".join(map(describe_change, worse))
    least = describe_change(min(changes, key=relative))
    return f"{len(changes)} slices compared; the largest loss is {least}"
