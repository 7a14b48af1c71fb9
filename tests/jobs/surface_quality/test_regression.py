"""Which losses are found, and which are not called one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.errors import ArtefactError
from serendip.jobs.surface_quality.record import (
    QualityRecord,
    RecordedSurface,
    compare_records,
    describe_worst,
)

USERS = 60


def record(values: np.ndarray, cold: np.ndarray | None = None, first: int = 0) -> QualityRecord:
    """One request of each user from ``first`` on; ``cold`` (T,) values, NaN = not in the slice."""
    count = len(values)
    keys = np.arange(first, first + count, dtype=np.uint64)
    cold = np.full(count, np.nan) if cold is None else cold
    surface = RecordedSurface(
        keys, keys * 7, np.array(["all", "cold items"]), np.column_stack([values, cold])
    )
    return QualityRecord({"home": surface})


def noise(seed: int, scale: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, scale, USERS)


def test_equal_records_have_no_loss() -> None:
    same = record(np.linspace(0, 1, USERS), np.linspace(0, 0.5, USERS))
    changes = compare_records(same, same, margin=0.0)
    names = ["home, all: nDCG@10", "home, cold items: nDCG@10"]
    assert [change.name for change in changes] == names
    assert {(change.gain, change.low, change.high) for change in changes} == {(0, 0, 0)}
    assert all(change.on for change in changes)
    assert describe_worst(changes).startswith("2 slices compared; the largest loss is home, all")


def test_a_slice_that_fell_is_named_though_the_whole_rose() -> None:
    before = record(np.full(USERS, 0.20), np.full(USERS, 0.10) + noise(0, 0.01))
    after = record(np.full(USERS, 0.25), np.full(USERS, 0.05) + noise(1, 0.01))
    whole, cold = compare_records(after, before, margin=0.05)
    assert (whole.on, cold.on) == (True, False)
    assert whole.gain == pytest.approx(0.05)
    assert cold.gain == pytest.approx(-0.05, abs=0.005)
    text = describe_worst([whole, cold])
    assert text.startswith("home, cold items: nDCG@10 0.")
    assert "all" not in text
    assert f"{USERS} users" in text


def test_a_loss_within_the_margin_is_tolerated() -> None:
    before, after = record(np.full(USERS, 0.20)), record(np.full(USERS, 0.195))
    assert compare_records(after, before, margin=0.05)[0].on
    assert not compare_records(after, before, margin=0.02)[0].on


def test_a_loss_that_may_be_chance_is_tolerated() -> None:
    before, after = record(0.2 + noise(0, 0.2)), record(0.18 + noise(1, 0.2))
    (change,) = compare_records(after, before, margin=0.0)
    assert change.low < 0 < change.high
    assert change.on


def test_intervals_hold_for_all_comparisons_together() -> None:
    """The same loss is worse alone, and not among a hundred slices."""
    before, after = record(np.full(USERS, 0.2)), record(0.2 - 0.02 + noise(3, 0.06))
    alone = compare_records(after, before, margin=0.0)[0]
    many = {f"shelf{number}": after.surfaces["home"] for number in range(100)}
    earlier = dict.fromkeys(many, before.surfaces["home"])
    among = compare_records(QualityRecord(many), QualityRecord(earlier), margin=0.0)[0]
    assert alone.gain == among.gain < 0
    assert not alone.on and among.on
    assert among.low < alone.low


def test_only_common_requests_are_compared_and_few_users_not_at_all() -> None:
    before = record(np.linspace(0, 1, USERS))
    after = record(np.linspace(0, 1, USERS)[5:], first=5)
    (change,) = compare_records(after, before, margin=0.0)
    assert (change.n, change.gain) == (USERS - 5, 0.0)
    few = record(np.zeros(USERS), first=11)
    assert compare_records(few, before, margin=0.0) == []
    assert "nothing to compare" in describe_worst([])


def test_a_user_with_many_requests_counts_once() -> None:
    before = record(np.full(USERS + 40, 0.2))
    surface = before.surfaces["home"]
    users = surface.users.copy()
    users[:41] = users[0]  # 41 requests of one user
    values = np.full((USERS + 40, 2), np.nan)
    values[:, 0] = 0.2
    values[:41, 0] = 0.0
    after = QualityRecord({"home": replace(surface, users=users, values=values)})
    (change,) = compare_records(after, before, margin=0.05)
    assert change.n == USERS
    assert change.gain == pytest.approx(-0.2 / USERS)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = record(np.linspace(0, 1, 5), np.array([np.nan, 1, 0, np.nan, 0.5]))
    written.save(tmp_path / "quality.npz")
    read = QualityRecord.open(tmp_path / "quality.npz")
    assert read is not None
    for part in ("keys", "users", "slices", "values"):
        np.testing.assert_array_equal(
            getattr(read.surfaces["home"], part), getattr(written.surfaces["home"], part)
        )
    assert QualityRecord.open(tmp_path / "nothing.npz") is None
    (tmp_path / "quality.npz").write_bytes(b"PK not a file")
    with pytest.raises(ArtefactError, match="no readable record"):
        QualityRecord.open(tmp_path / "quality.npz")
