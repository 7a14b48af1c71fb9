"""Drift of popularity: groups, profiles and the index of two profiles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serendip.data.dataset import EventLog
from serendip.data.events.event import ActionRules, Event, EventColumns
from serendip.data.vocabulary import Vocabulary
from serendip.jobs.train.staleness import (
    MIN_INTERACTIONS,
    interacted_items,
    newest_profile,
    popularity_groups,
    popularity_profile,
    stability_index,
)


def log_of(items: np.ndarray) -> EventLog:
    count = len(items)
    times = np.arange(count, dtype=np.float64)
    liked, values = np.zeros(count, np.bool_), np.zeros(count, np.float32)
    return EventLog(np.zeros(count, np.int32), items.astype(np.int32), times, liked, values)


def test_each_group_has_a_tenth_of_the_interactions_and_the_rest_none() -> None:
    counts = np.array([1, 0, 4, 2, 1, 2, 0], np.int32)
    assert popularity_groups(counts).tolist() == [8, 10, 0, 4, 9, 6, 10]
    assert popularity_groups(np.zeros(3, np.int32)).tolist() == [10, 10, 10]


def test_items_that_nobody_knew_count_among_those_without_interactions() -> None:
    counts = np.array([5, 5, 0], np.int32)
    profile = popularity_profile(np.array([0, 2, -1, -1], np.int32), counts)
    assert profile.sum() == pytest.approx(1)
    assert profile[10] == pytest.approx(3.5 / 9.5)
    assert profile[0] == pytest.approx(1.5 / 9.5)
    assert profile[5] == pytest.approx(0.5 / 9.5)


def test_the_index_is_the_sum_of_its_definition() -> None:
    found = np.array([0.2, 0.8])
    expected = (0.2 - 0.5) * math.log(0.2 / 0.5) + (0.8 - 0.5) * math.log(0.8 / 0.5)
    assert stability_index([0.5, 0.5], found) == pytest.approx(expected)
    assert stability_index(found, found) == 0


def drift_between(before: np.ndarray, since: np.ndarray) -> float:
    usual = newest_profile(log_of(before), 1_000)
    assert usual is not None
    counts = np.bincount(before, minlength=1_000).astype(np.int32)
    return stability_index(usual, popularity_profile(since.astype(np.int32), counts))


def zipf(rng: np.random.Generator, count: int, first: int = 0) -> np.ndarray:
    weights = 1 / np.arange(1, 201)
    return first + rng.choice(200, count, p=weights / weights.sum())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_taste_is_no_drift_and_another_one_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = zipf(rng, 8_000)
    assert drift_between(before, zipf(rng, 600)) < 0.1
    turned = 199 - zipf(rng, 600)  # what few people liked is what most like now
    assert drift_between(before, turned) > 0.25
    unknown = np.concatenate([zipf(rng, 400), zipf(rng, 200, 500)])
    assert drift_between(before, unknown) > 0.25


def test_a_catalogue_that_turns_over_steadily_does_not_drift() -> None:
    rng = np.random.default_rng(0)
    days = [zipf(rng, 800, 40 * day) for day in range(11)]
    assert drift_between(np.concatenate(days[:10]), days[10]) < 0.25


def test_too_few_interactions_have_no_profile() -> None:
    enough = np.zeros(2 * MIN_INTERACTIONS, np.int32)
    assert newest_profile(log_of(enough[1:]), 1) is None
    profile = newest_profile(log_of(enough), 1)
    assert profile is not None and profile[0] > 0.98


def test_only_interest_counts() -> None:
    rules = ActionRules(dislike_at_most=2.0)
    events = [
        Event("u", "b", 1.0, "rate", 1.0),
        Event("u", "a", 2.0, "click"),
        Event("u", "a", 3.0, "impression"),
        Event("u", "new", 4.0, "purchase"),
        Event("u", "b", 5.0, "hide"),
    ]
    columns = EventColumns.of_events(events)
    assert interacted_items(columns, rules, Vocabulary(["a", "b"])).tolist() == [0, -1]
