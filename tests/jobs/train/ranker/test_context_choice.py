"""The parts of the context that a ranker reads are chosen on the newest requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serendip.engine.config.settings import Settings
from serendip.jobs.train.ranker.context_choice import (
    SampledRows,
    can_choose,
    choose_parts,
)
from serendip.models.context_counts import ContextPart
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.runtime.budget import TimeBudget
from serendip.runtime.progress import TrainOptions

NAMES = ("transitions", "country fit", "log country popularity", "device fit", "log age")
REQUESTS, SIZE = 1_000, 12
PARTS: tuple[ContextPart, ...] = ("country", "device", "age")
SETTINGS = Settings(
    ranker=RankerConfig(actions=("interact",), hidden_size=8, num_hidden=1, batch_size=256)
)


def sample(deciding: str, seed: int = 0) -> SampledRows:
    """Requests in order of time; the item with the largest value of a feature is chosen.

    Half of the values of a deciding feature of the context are not known to the transitions.
    """
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(REQUESTS, SIZE, len(NAMES))).astype(np.float32)
    score = features[:, :, 0] + 0.5 * rng.normal(size=(REQUESTS, SIZE))
    if deciding != "transitions":
        score += 2 * features[:, :, NAMES.index(deciding)]
    labels = (score == score.max(1, keepdims=True)).reshape(-1, 1).astype(np.float32)
    rows = RankerRows(
        features.reshape(-1, len(NAMES)),
        np.zeros(REQUESTS * SIZE, np.int64),
        labels,
        np.ones(REQUESTS * SIZE, np.float32),
        np.repeat(np.arange(REQUESTS), SIZE),
    )
    return SampledRows(
        rows,
        NAMES,
        1e9 + np.arange(REQUESTS, dtype=np.float64),
        [f"u{number % 150}" for number in range(REQUESTS)],
    )


def test_the_part_that_decides_is_kept_and_the_others_are_left_out() -> None:
    found = choose_parts(sample("country fit"), PARTS, SETTINGS, TrainOptions())
    assert found.kept == ("country",)
    country, device, age = found.gains
    assert country.low > 0.1
    assert country.without == device.without == age.without
    assert 0.3 < country.without < country.without + country.gain < 1
    assert device.low <= 0 < device.high
    assert age.low <= 0 < age.high
    assert (found.users, found.note) == (150, "")


def test_nothing_is_kept_where_no_part_decides() -> None:
    assert choose_parts(sample("transitions"), PARTS, SETTINGS, TrainOptions()).kept == ()


def test_parts_are_judged_by_the_newest_requests() -> None:
    """The country decided once, and now it misleads: what was learned before is worth nothing."""
    one = sample("country fit")
    is_new = one.rows.group >= 500
    features = one.rows.features.copy()
    features[is_new, 1] *= -1
    changed = replace(one, rows=replace(one.rows, features=features))
    found = choose_parts(changed, PARTS, SETTINGS, TrainOptions())
    assert found.kept == ()
    assert found.gains[0].high < -0.1


def test_the_split_is_by_time_and_not_by_the_number_of_a_request() -> None:
    one = sample("country fit")
    order = np.random.default_rng(3).permutation(REQUESTS)
    features = one.rows.features.copy()
    is_new = order[one.rows.group] >= 500
    features[is_new, 1] *= -1
    times = 1e9 + order.astype(np.float64)
    mixed = replace(one, rows=replace(one.rows, features=features), times=times)
    assert choose_parts(mixed, PARTS, SETTINGS, TrainOptions()).gains[0].high < -0.1


def test_requests_without_a_time_are_neither_older_nor_newer() -> None:
    one = sample("country fit")
    times = np.where(np.arange(REQUESTS) % 2 == 0, one.times, np.nan)
    older, newest = replace(one, times=times).split()
    assert np.unique(older.rows.group).tolist() == list(range(0, 500, 2))
    assert np.unique(newest.rows.group).tolist() == list(range(500, REQUESTS, 2))
    assert newest.users == [f"u{number % 150}" for number in range(500, REQUESTS, 2)]


def test_users_who_are_not_known_are_apart_and_requests_without_a_choice_are_left_out() -> None:
    one = sample("country fit")
    labels = one.rows.labels * (one.rows.group != 999)[:, None]
    unknown = replace(one, rows=replace(one.rows, labels=labels), users=[""] * REQUESTS)
    _, newest = unknown.split()
    assert len(set(newest.users)) == len(newest.users) == 499


def test_of_two_parts_that_say_the_same_one_is_kept() -> None:
    one = sample("country fit")
    features = one.rows.features.copy()
    features[:, 3] = features[:, 1]  # the device is a copy of the country
    found = choose_parts(
        replace(one, rows=replace(one.rows, features=features)), PARTS, SETTINGS, TrainOptions()
    )
    assert len(found.kept) == 1
    (second,) = {"country", "device"} - {*found.kept}
    gain = next(gain for gain in found.gains if gain.part == second)
    assert gain.beside == found.kept
    assert gain.low <= 0


def test_nothing_is_tested_without_time_or_with_few_requests_or_users() -> None:
    one = sample("country fit")
    gone = TimeBudget(1e-9).allow("ranker", 1.0)
    assert choose_parts(one, PARTS, SETTINGS, TrainOptions(allowance=gone)).kept == ()
    few = replace(one, users=["u1"] * REQUESTS)
    assert choose_parts(few, PARTS, SETTINGS, TrainOptions()).gains == ()
    untimed = replace(one, times=np.where(np.arange(REQUESTS) < 800, np.nan, one.times))
    assert choose_parts(untimed, PARTS, SETTINGS, TrainOptions()).gains == ()
    assert can_choose(one.times)
    assert not can_choose(untimed.times)
