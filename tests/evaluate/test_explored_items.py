"""The choice rate of explored items: exact by hand, and without bias where draws are unequal."""

from __future__ import annotations

import numpy as np
import pytest

from serendip.data import ActionRules, Event, Vocabulary
from serendip.data.events.search_log import LoggedRequest, logged_requests
from serendip.evaluate.new_items import measure_exploration

ITEMS = Vocabulary("abcd")


def event(
    user: str, item: str, action: str, request: str, propensity: float | None = None
) -> Event:
    return Event(user, item, 1.0, action, request_id=request, propensity=propensity)


LOG = [
    event("u", "a", "impression", "r1"),
    event("u", "b", "impression", "r1", 0.5),
    event("u", "b", "click", "r1", 0.5),
    event("u", "a", "click", "r1"),
    event("u", "c", "impression", "r2", 0.25),
    event("v", "d", "impression", "r3", 0.1),
    event("v", "d", "click", "r3"),
    event("w", "a", "impression", "r4", 1.0),
    event("w", "a", "click", "r4", 1.0),
    event("w", "a", "hide", "r4"),
    event("w", "b", "click", "r5", 0.001),
]
"""Weights 2 and 4 for u, 10 for v, 1 for w; b and d were chosen, a was taken back, and the last
click has no impression."""


def requests(events: list[Event]) -> list[LoggedRequest]:
    return logged_requests(events, ITEMS, ActionRules())


@pytest.mark.parametrize(("most", "rate", "clipped"), [(100.0, 12 / 17, 0), (4.0, 6 / 11, 1)])
def test_the_estimate_is_that_by_hand(most: float, rate: float, clipped: int) -> None:
    found = measure_exploration(requests(LOG), most_weight=most)
    assert (found.impressions, found.choices, found.clipped) == (4, 2, clipped)
    assert (found.most_weight, found.rate.n) == (most, 3)
    assert found.rate.value == pytest.approx(rate, rel=1e-12)
    assert found.rate.low is not None and found.rate.high is not None
    assert 0.0 <= found.rate.low < rate < found.rate.high <= 1.0


def test_a_log_without_propensities_has_nothing_explored() -> None:
    plain = [event("u", "a", "impression", "r"), event("u", "a", "click", "r")]
    for events in ([], plain):
        found = measure_exploration(requests(events))
        assert (found.impressions, found.choices, found.rate.value, found.rate.n) == (0, 0, None, 0)


def test_without_any_choice_the_interval_still_has_a_width() -> None:
    shown = [event(f"u{n}", "a", "impression", "r", 0.2) for n in range(12)]
    found = measure_exploration(requests(shown))
    assert (found.rate.value, found.rate.low) == (0.0, 0.0)
    assert found.rate.high == pytest.approx(1 - 0.025 ** (1 / 12))


CHANCES = np.array([0.60, 0.25, 0.10, 0.05])
"""Of the items of a pool: the more promising ones are drawn more often ..."""

CHOSEN = np.array([0.50, 0.30, 0.10, 0.02])
"""... and chosen more often."""


def simulate(random: np.random.Generator, users: int, per_user: int) -> list[LoggedRequest]:
    size = users * per_user
    items = random.choice(len(CHANCES), size, p=CHANCES)
    is_chosen = random.random(size) < CHOSEN[items]
    return [
        LoggedRequest(
            f"u{row % users}",
            *(0.0, 0.0, "home", ""),
            np.array([item], np.int32),
            np.array([item] if chosen else [], np.int32),
            np.zeros(int(chosen), np.bool_),
            propensities=CHANCES[[item]],
        )
        for row, (item, chosen) in enumerate(zip(items.tolist(), is_chosen.tolist(), strict=True))
    ]


def test_draws_that_prefer_what_is_liked_do_not_bias_it() -> None:
    truth = float(CHOSEN.mean())  # 0.23; the plain share is about 0.386
    random = np.random.default_rng(0)
    logs = [simulate(random, 150, 4) for _ in range(100)]
    found = [measure_exploration(log, seed, resamples=300) for seed, log in enumerate(logs)]
    values = np.array([one.rate.value for one in found])
    error = values.std(ddof=1) / len(values) ** 0.5
    assert abs(values.mean() - truth) < 3 * error
    covered = np.mean([one.rate.low <= truth <= one.rate.high for one in found])
    assert covered >= 0.88  # of 0.95
    plain = np.mean([one.choices / one.impressions for one in found])
    assert plain == pytest.approx(float(CHANCES @ CHOSEN), abs=0.01)
    assert not any(one.rate.low <= plain <= one.rate.high for one in found[:5])
