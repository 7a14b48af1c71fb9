import math
from dataclasses import replace

import numpy as np
import pytest

from serendip.config import validate
from serendip.data import Catalogue, Dataset, EventLog, History, Item, Vocabulary
from serendip.data.events.repeats import RepeatConfig, learn_repeats
from serendip.errors import ConfigError

DAY = 86_400.0
NUM_USERS = 60


def world(film_repeats: int = 0, coffee_days: float = 30.0) -> Dataset:
    """Users who buy coffee again and again, and see each film once; items 0-3 coffee, 4-7 films."""
    random = np.random.default_rng(0)
    items = [Item(f"i{n}", f"T{n}", "", {"kind": "coffee" if n < 4 else "film"}) for n in range(8)]
    rows = []
    for user in range(NUM_USERS):
        for step in range(8):
            noise = random.uniform(-2, 2)
            rows.append((user, user % 4, (step * coffee_days + noise) * DAY))
            if step < 4:
                rows.append((user, 4 + step, step * 20 * DAY + user))
        if user < film_repeats:
            rows.append((user, 4, 100 * DAY))
    rows.sort(key=lambda row: row[2])
    users, nums, times = zip(*rows, strict=True)
    log = EventLog(
        np.array(users, np.int32),
        np.array(nums, np.int32),
        np.array(times),
        np.zeros(len(rows), np.bool_),
        np.full(len(rows), np.nan, np.float32),
    )
    return Dataset(Catalogue(items), Vocabulary(f"u{n}" for n in range(NUM_USERS)), log)


CODES = np.array([[0, 1]] * 4 + [[3, 0]] * 4, np.int32)
BY_KIND = RepeatConfig(category="kind")


@pytest.mark.parametrize("config", [BY_KIND, RepeatConfig()])
def test_coffee_comes_again_after_its_usual_time_and_films_never(config: RepeatConfig) -> None:
    repeats = learn_repeats(world(), CODES, config)
    assert repeats.is_on
    np.testing.assert_allclose(repeats.after[:4] / DAY, 30, atol=2)
    assert np.isinf(repeats.after[4:]).all()
    history = History(
        np.array([0, 4, 1, 0], np.int32), np.array([0, 5, 50, 60]) * DAY, np.zeros(4, np.bool_)
    )
    for day, due in ((59, []), (79, []), (85, [1]), (95, [0, 1]), (5_000, [0, 1])):
        assert repeats.due(history, day * DAY).tolist() == due
    assert repeats.due(history, math.nan).tolist() == []


def test_a_log_without_repeats_lets_nothing_come_again() -> None:
    dataset = world()
    first = np.unique(dataset.events.users * 8 + dataset.events.items, return_index=True)[1]
    once = np.zeros(len(dataset.events), np.bool_)
    once[first] = True
    repeats = learn_repeats(replace(dataset, events=dataset.events.rows(once)), CODES, BY_KIND)
    assert not repeats.is_on
    history = History.of_items(np.array([0, 1], np.int32))
    assert repeats.due(history, 1e12).tolist() == []
    assert repeats.with_late(np.array([9]), [Item("x", "X")], CODES[:1]) is repeats


def test_settings_have_the_last_word_and_choices_of_one_day_are_no_repeat() -> None:
    dataset = world()
    close = replace(dataset.events, timestamps=dataset.events.timestamps / 100)
    assert not learn_repeats(replace(dataset, events=close), CODES, BY_KIND).is_on

    config = RepeatConfig(category="kind", after={"coffee": "never", "film": "7d"})
    repeats = learn_repeats(world(), CODES, config)
    assert np.isinf(repeats.after[:4]).all()
    assert repeats.after[4:].tolist() == [7 * DAY] * 4
    assert not learn_repeats(world(), CODES, RepeatConfig(min_share=1.0)).is_on
    with pytest.raises(ConfigError, match="after"):
        validate(RepeatConfig, {"after": {"coffee": "soon"}}, "serendip.toml")


def test_few_choices_of_a_category_do_not_decide_by_chance() -> None:
    # One of 60 films is seen again: far below the least share, whatever the whole log does.
    assert np.isinf(learn_repeats(world(film_repeats=1), CODES, BY_KIND).after[4:]).all()
    # A category of one pair is judged by the whole log.
    dataset = world()
    items = [*dataset.catalogue.items]
    items[7] = Item("i7", "T7", "", {"kind": "tea"})
    log = dataset.events.rows((dataset.events.items != 7) | (dataset.events.users == 0))
    few = replace(dataset, catalogue=Catalogue(items), events=log)
    assert learn_repeats(few, CODES, BY_KIND).after[7] == pytest.approx(30 * DAY, rel=0.1)


def test_new_and_changed_items_have_the_time_of_their_category() -> None:
    repeats = learn_repeats(world(), CODES, BY_KIND)
    coffee, film = (
        Item("a", "A", "", {"kind": ("coffee", "hot")}),
        Item("b", "B", "", {"kind": "film"}),
    )
    other = Item("c", "C")
    more = repeats.with_late(np.array([8, 9, 10]), [coffee, film, other], np.zeros((3, 2), int))
    assert more.after[8] == repeats.after[0]
    assert np.isinf(more.after[9])
    assert more.after[10] == pytest.approx(repeats.usual)
    changed = more.with_late(np.array([0]), [film], np.zeros((1, 2), int))
    assert np.isinf(changed.after[0])
    assert np.isfinite(more.after[0])
