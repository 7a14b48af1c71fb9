"""Limits per period: so much at once, so much on average, and when to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.serve import access
from serendip.serve.access import RateLimit


class Clock:
    """Stands still unless it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_at_once_then_one_after_each_part_of_the_minute() -> None:
    clock = Clock()
    limit = RateLimit(6, clock=clock)
    assert [limit.take("a") for _ in range(8)] == [0.0] * 6 + [10.0] * 2
    assert limit.take("b", 6) == 0.0
    assert limit.take("c", 7) > 0
    clock.now = 9.5
    assert limit.take("a") == 0.5
    clock.now = 10.0
    assert [limit.take("a") for _ in range(2)] == [0.0, 10.0]
    clock.now = 70.0
    assert [limit.take("a") for _ in range(8)] == [0.0] * 6 + [10.0] * 2


def test_without_a_limit_nothing_is_counted() -> None:
    limit = RateLimit(None, clock=Clock())
    assert not any(limit.take("a") for _ in range(1_000))
    assert limit._busy_until == {}


@given(st.integers(1, 50), st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=200))
def test_over_any_time_no_more_than_the_burst_and_the_rate(most: int, gaps: list[float]) -> None:
    clock = Clock()
    limit, accepted = RateLimit(most, clock=clock), list[float]()
    for gap in gaps:
        clock.now += gap
        if not limit.take("a"):
            accepted.append(clock.now)
    for first, start in enumerate(accepted):
        for last, end in enumerate(accepted[first:], first):
            assert last - first + 1 <= most * (1 + (end - start) / 60) + 1e-3


def test_the_number_of_senders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_MAX_SENDERS", 1_000)
    clock = Clock()
    limit = RateLimit(1, clock=clock)
    for number in range(5_000):
        clock.now += 1e-3
        assert limit.take(f"sender {number}") == 0.0
        assert len(limit._busy_until) <= 1_000
    assert limit.take("sender 4999") > 0
