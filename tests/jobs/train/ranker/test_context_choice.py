from dataclasses import replace

import numpy as np

from serendip.data.arrays import NO_ITEMS
from serendip.data.query import Query
from serendip.engine.config.settings import Settings
from serendip.evaluate.decision import Decision
from serendip.jobs.surface_quality.requests import LabelledQuery
from serendip.jobs.train.ranker.choices import choose_parts, split_by_time
from serendip.jobs.train.ranker.sample import RankerSample
from serendip.models.context_counts import ContextPart
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.runtime.budget import open_budget
from serendip.runtime.progress import TrainOptions

NAMES = ("transitions", "country fit", "log country popularity", "device fit", "log age")
REQUESTS, SIZE = 1_000, 12
PARTS: tuple[ContextPart, ...] = ("country", "device", "age")
SETTINGS = Settings(ranker=RankerConfig(actions=("interact",), hidden_size=8, batch_size=256))
ORDER = np.arange(REQUESTS)


def asked_at(times: np.ndarray, num_users: int = 150) -> list[LabelledQuery]:
    """A request at each time."""
    users = [f"u{number % num_users}" for number in range(REQUESTS)]
    return [
        LabelledQuery(Query(time=1e9 + time, user_id=user), NO_ITEMS, [])
        for time, user in zip(times.tolist(), users, strict=True)
    ]


def sample(deciding: str) -> RankerSample:
    """Requests in order of time; the item with the largest value of a feature is chosen.

    Half of the values of a deciding feature of the context are not known to the transitions.
    """
    rng = np.random.default_rng(0)
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
        np.repeat(ORDER, SIZE),
    )
    return RankerSample(rows, NAMES, asked_at(ORDER))


def choose(one: RankerSample) -> dict[str, Decision]:
    return {found.name: found for found in choose_parts(one, PARTS, SETTINGS, TrainOptions())}


def kept(one: RankerSample) -> list[str]:
    return [name.removeprefix("context: ") for name, found in choose(one).items() if found.on]


def mislead(one: RankerSample, is_late: np.ndarray) -> RankerSample:
    """The country says the opposite in some of the requests."""
    features = one.rows.features.copy()
    features[is_late[one.rows.group], 1] *= -1
    return replace(one, rows=replace(one.rows, features=features))


def test_the_part_that_decides_is_kept_and_the_others_are_left_out() -> None:
    found = choose(sample("country fit"))
    country, device, age = (found[f"context: {part}"] for part in PARTS)
    assert (country.on, device.on, age.on) == (True, False, False)
    assert country.low is not None and country.low > 0.1
    assert country.without == device.without == age.without
    assert country.without is not None and 0.3 < country.without < 0.7
    assert country.n == 150
    assert kept(sample("transitions")) == []


def test_parts_are_judged_by_the_newest_requests_whatever_their_numbers() -> None:
    """The country decided once, and now it misleads: what was learned before is worth nothing."""
    for order in (ORDER, np.random.default_rng(3).permutation(REQUESTS)):
        changed = mislead(sample("country fit"), order >= 500)
        country = choose(replace(changed, requests=asked_at(order)))["context: country"]
        assert not country.on
        assert country.high is not None and country.high < -0.1


def test_requests_without_a_time_or_a_choice_are_neither_older_nor_newer() -> None:
    one = sample("country fit")
    times = np.where(ORDER % 2 == 0, ORDER.astype(float), np.nan)
    labels = one.rows.labels * (one.rows.group != 998)[:, None]
    one = replace(one, rows=replace(one.rows, labels=labels), requests=asked_at(times))
    older, newest = split_by_time(one)
    assert np.unique(older.group).tolist() == list(range(0, 500, 2))
    assert np.unique(newest.group).tolist() == list(range(500, 998, 2))


def test_of_two_parts_that_say_the_same_one_is_kept() -> None:
    one = sample("country fit")
    features = one.rows.features.copy()
    features[:, 3] = features[:, 1]  # the device is a copy of the country
    one = replace(one, rows=replace(one.rows, features=features))
    (first,) = kept(one)
    (second,) = {"country", "device"} - {first}
    assert choose(one)[f"context: {second}"].reason.endswith(f"beside {first}")


def test_nothing_is_tested_without_time_or_with_few_requests_or_users() -> None:
    one = sample("country fit")
    gone = TrainOptions(allowance=open_budget(1e-9).from_now(1.0, "ranker"))
    (country, *_) = choose_parts(one, PARTS, SETTINGS, gone)
    assert (country.on, country.gain) == (False, None) and "no time" in country.reason
    untimed = np.where(ORDER < 800, np.nan, ORDER)
    for few in (asked_at(ORDER, num_users=1), asked_at(untimed)):
        found = choose(replace(one, requests=few))["context: country"]
        assert (found.on, found.gain) == (False, None)
