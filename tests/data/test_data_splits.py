from dataclasses import replace

import numpy as np
import pytest
from data_world import LOGS, dataset_of
from hypothesis import assume, given
from hypothesis import strategies as st

from serendip.data.dataset import Dataset
from serendip.data.events.event import EXCLUSIONS
from serendip.data.events.rejections import ImpressionLog, NegativeLog
from serendip.data.items.features import ItemFeatures
from serendip.data.splits import MAX_TARGETS_PER_USER, temporal
from serendip.errors import DataError


def ids(catalogue, numbers):
    return catalogue.vocabulary.ids_of(numbers)


def train_rows(split):
    log = split.train.events
    users = split.train.users.ids_of(log.users)
    return list(zip(users, ids(split.train.catalogue, log.items), log.timestamps, strict=True))


def target_rows(split, targets=None):
    chosen = targets or split.targets
    return list(zip(chosen.users, ids(split.catalogue, chosen.items), chosen.times, strict=True))


WORLD = [
    ("u", "b", 1),
    ("v", "a", 2),
    ("u", "d", 3),
    ("v", "d", 4),
    ("u", "a", 5),
    ("w", "c", 6),
    ("u", "c", 7),
    ("w", "b", 8),
]


def test_a_temporal_split_of_a_small_world():
    split = temporal(dataset_of(WORLD), 0.5)
    assert split.name == "temporal@0.5"
    assert split.cut == 5.0
    assert train_rows(split) == [("u", "b", 1), ("v", "a", 2), ("u", "d", 3), ("v", "d", 4)]
    assert split.train.catalogue.vocabulary.ids == ("a", "b", "d")
    assert split.train.users.ids == ("u", "v")
    assert split.train.cut == 4.0
    assert [item.item_id for item in split.new_items] == ["c", "e", "f"]
    assert split.catalogue.vocabulary.ids == ("a", "b", "d", "c", "e", "f")
    assert target_rows(split) == [("u", "a", 5), ("u", "c", 7), ("w", "c", 6), ("w", "b", 8)]


def test_queries_know_what_happened_before_their_target_also_after_the_cut():
    split = temporal(dataset_of(WORLD), 0.5)
    queries = split.targets.queries("cart")
    assert [ids(split.catalogue, query.history.item_nums) for query in queries] == [
        ["b", "d"],
        ["b", "d", "a"],
        [],
        ["c"],
    ]
    assert [query.task for query in queries] == ["cart"] * 4
    assert [query.user_id for query in queries] == ["u", "u", "w", "w"]
    assert [query.time for query in queries] == [5, 7, 6, 8]
    assert ids(split.catalogue, queries[1].exclude) == ["a", "b", "d"]
    assert queries[1].history.liked.tolist() == [True, False, True]


def test_items_and_impressions_before_the_cut_are_known():
    available = {"e": 4.5, "f": 5.0, "c": 9.0}
    split = temporal(dataset_of(WORLD, available=available), 0.5)
    assert split.train.catalogue.vocabulary.ids == ("a", "b", "d", "e")
    assert [item.item_id for item in split.new_items] == ["c", "f"]

    world = dataset_of(WORLD)
    shown = ids_to_log(world, [("b", 0.5), ("c", 1.0), ("a", 4.0), ("b", 5.0), ("d", 7.0)])
    train = temporal(replace(world, impressions=shown), 0.5).train
    assert train.catalogue.vocabulary.ids_of(train.impressions.items) == ["b", "a"]
    assert train.impressions.timestamps.tolist() == [0.5, 4.0]


def test_of_ties_windows_and_long_users_targets_are_what_they_say():
    split = temporal(dataset_of([*[("u", name, 1) for name in "abcd"], ("v", "a", 2)]), 0.3)
    assert len(split.train.events) == 4
    assert target_rows(split) == [("v", "a", 2)]

    items = [f"i{number}" for number in range(160)]
    rows = [("u", name, time) for time, name in enumerate(items, 10)]
    split = temporal(dataset_of([("v", "i0", 1), *rows], items), 0.001 + 1 / 161)
    assert MAX_TARGETS_PER_USER == 100
    assert ids(split.catalogue, split.targets.items) == items[:100]

    data = dataset_of(WORLD)
    first, second = temporal(data, 0.5, 0.75), temporal(data, 0.75)
    assert target_rows(first) == [("u", "a", 5), ("w", "c", 6)]
    assert target_rows(second) == [("u", "c", 7), ("w", "b", 8)]


BASKETS = [
    ("u", "a", 1),
    ("v", "b", 2),
    ("u", "d", 90_000),
    ("u", "b", 90_000),
    ("u", "c", 90_000),
    ("u", "e", 90_060),
    ("w", "f", 200_000),
]
"""After the first two: three items of u at one time, one a minute later; w chooses one thing."""


def test_what_follows_is_all_that_was_chosen_at_its_time_however_the_log_orders_it():
    split = temporal(dataset_of(BASKETS), 2 / 7)
    assert target_rows(split)[:3] == [("u", "d", 90_000), ("u", "b", 90_000), ("u", "c", 90_000)]
    told = {row: split.targets.choices_after(row, 1) for row in range(4)}
    for row, expected in enumerate(("bcd", "bcd", "bcd", "e")):
        assert "".join(sorted(ids(split.catalogue, told[row]))) == expected
    assert len(split.targets.choices_after(1, 10)) == 4
    assert [len(split.targets.choices_beside(row)) for row in range(4)] == [3, 3, 3, 1]


def test_the_page_before_a_target_is_of_the_visit_or_of_the_basket_or_the_last_one():
    split = temporal(dataset_of(BASKETS), 2 / 7)
    names = split.catalogue.vocabulary.ids
    pages = [split.targets.page_before(row) for row in range(len(split.targets))]
    found = {
        item: None if page is None else names[page]
        for (_, item, _), page in zip(target_rows(split), pages, strict=True)
    }
    # The three of one time lead to one another by their numbers, in a circle; `c` was a minute
    # before `e` in the log, and nothing led w to `f`.
    assert names == ("a", "b", "c", "d", "e", "f")
    assert found == {"b": "c", "c": "d", "d": "b", "e": "c", "f": None}
    alone = temporal(dataset_of([("u", "a", 1), ("v", "b", 2), ("u", "c", 90_000)]), 2 / 3)
    assert alone.targets.page_before(0) == 0


@pytest.mark.parametrize("rows", [[], [("u", "a", 1)], [("u", "a", 1), ("v", "b", 1)]])
def test_events_without_a_before_and_after_cannot_be_split_by_time(rows):
    with pytest.raises(DataError, match="cannot be split by time"):
        temporal(dataset_of(rows), 0.5)


@given(LOGS, st.floats(0.05, 0.9), st.floats(0.05, 1.0))
def test_a_temporal_split_never_leaks(rows, fraction, width):
    data = dataset_of(rows)
    assume(len({time for _, _, time in rows}) > 1)
    until = min(1.0, fraction + width)
    split = temporal(data, fraction, until)
    train, targets = train_rows(split), target_rows(split)
    log = sorted(rows, key=lambda row: row[2])
    assert train == [row for row in log if row[2] < split.cut]
    assert all(row[2] >= split.cut for row in targets)
    assert set(targets) <= set(rows)
    past_items = {item for _, item, time in rows if time < split.cut}
    assert set(split.train.catalogue.vocabulary.ids) == past_items
    assert set(split.train.users.ids) == {user for user, _, time in rows if time < split.cut}
    for query, (user, item, time) in zip(split.targets.queries(), targets, strict=True):
        before = [name for who, name, when in log if who == user and when < time]
        assert ids(split.catalogue, query.history.item_nums) == before
        assert (query.history.timestamps < time).all()
        assert sorted(ids(split.catalogue, query.exclude)) == sorted(set(before))
        assert item not in before


def test_features_that_may_know_the_future_are_left_behind():
    data = dataset_of(WORLD)
    features = ItemFeatures(np.zeros((6, 2), np.float32), np.zeros((6, 1), np.int32), 4)
    assert temporal(data.with_features(features), 0.5).train.features is None


def with_negatives(rows, hidden) -> Dataset:
    """A dataset of (user, item, time) rows whose users hid (user, item, time, until)."""
    data = dataset_of(rows)
    return replace(
        data,
        negatives=NegativeLog(
            data.users.numbers(one[0] for one in hidden),
            data.catalogue.vocabulary.numbers(one[1] for one in hidden),
            np.array([one[2] for one in hidden], np.float64),
            np.full(len(hidden), np.nan, np.float32),
            np.full(len(hidden), EXCLUSIONS.index("everywhere"), np.int8),
            np.array([one[3] for one in hidden], np.float64),
        ),
    )


ROWS = [("u", "a", 1), ("u", "b", 2), ("v", "a", 3), ("u", "c", 5), ("u", "d", 6), ("u", "e", 8)]


def test_what_is_rejected_is_neither_history_nor_answer_nor_target():
    hidden = [("u", "a", 3, np.inf), ("u", "d", 4, np.inf), ("u", "b", 7, np.inf)]
    targets = temporal(with_negatives(ROWS, hidden), 0.5).targets
    catalogue = temporal(dataset_of(ROWS), 0.5).catalogue.vocabulary
    assert catalogue.ids_of(targets.items) == ["c", "e"]
    first, second = targets.queries()
    assert catalogue.ids_of(first.history.item_nums) == ["b"]
    assert sorted(catalogue.ids_of(first.exclude)) == ["a", "b", "d"]
    assert sorted(catalogue.ids_of(first.rejected.item_nums)) == ["a", "d"]
    # d was rejected when it was chosen: that is no interest that anybody could foretell from.
    assert catalogue.ids_of(second.history.item_nums) == ["c"]
    assert sorted(catalogue.ids_of(second.exclude)) == ["a", "b", "c", "d"]


def test_rejections_are_those_that_stand_at_the_cut():
    targets = temporal(with_negatives(ROWS, [("u", "a", 3, 6), ("u", "b", 9, 9.5)]), 0.5).targets
    catalogue = temporal(dataset_of(ROWS), 0.5).catalogue.vocabulary
    known = ["".join(catalogue.ids_of(query.history.item_nums)) for query in targets.queries()]
    assert known == ["b", "bc", "abcd"]

    hidden = [("u", "a", 3, 6), ("u", "b", 4, 4.5), ("u", "c", 5, np.inf)]
    split = temporal(with_negatives(ROWS, hidden), 0.5)
    past = split.train.negatives
    assert split.train.catalogue.vocabulary.ids_of(past.items) == ["a", "b"]
    assert (past.timestamps.tolist(), past.until.tolist()) == ([3.0, 4.0], [np.inf, 4.5])
    assert split.train.users.ids_of(past.users) == ["u", "u"]


def ids_to_log(world, rows):
    items = world.catalogue.vocabulary.numbers(item for item, _ in rows)
    return ImpressionLog(items, np.array([time for _, time in rows]))
