"""A dataset that was written is the dataset that is opened."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data.dataset import Dataset, UserCountries
from serendip.data.dataset_folder import open_dataset, save_dataset
from serendip.data.events.impression_log import ImpressionLog
from serendip.data.events.negative_log import NegativeLog
from serendip.data.events.search_log import LoggedRequest
from serendip.data.users.groups import Groups
from serendip.testing import build_small_world


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


REQUESTS = (
    LoggedRequest(
        "u1",
        1.5,
        2.25,
        "search",
        "œuvre 😀",
        ints(1, 2, 3),
        ints(2, 3),
        np.array([True, False]),
        [frozenset({"click", "like"}), frozenset({"click"})],
        propensities=np.array([np.nan, 0.25, np.nan]),
        session=2**62 + 1,
    ),
    LoggedRequest("u2", 3.0, 3.0, "home", "", ints(), ints(), np.zeros(0, np.bool_)),
)

NEGATIVES = NegativeLog(
    ints(0, -1),
    ints(3, 4),
    np.array([1.0, 2.0]),
    np.array([np.nan, 1.0], np.float32),
    np.array([1, 2], np.int8),
    np.array([np.inf, 5.0]),
)


def full(world: Dataset) -> Dataset:
    of_users = np.arange(world.num_users, dtype=np.int32) % 3 - 1
    countries = UserCountries(("DE", "FR"), of_users, of_users == 1)
    actions = (np.arange(len(world.events)) % 2).astype(np.int16)
    events = replace(world.events, actions=actions, strengths=actions.astype(np.float32))
    return replace(
        world,
        events=events,
        cut=7.5,
        requests=REQUESTS,
        countries=countries,
        negatives=NEGATIVES,
        impressions=ImpressionLog(ints(4, 1, 4), np.array([0.5, 1.5, 2.5])),
        action_names=("click", "like"),
        user_groups={
            "plan/kind": Groups(("free", "paid"), of_users),
            "age": Groups(("old", "young"), of_users[::-1].copy()),
        },
    )


@pytest.mark.parametrize("is_full", [False, True])
def test_a_dataset_is_the_same_after_writing_and_opening(tmp_path: Path, is_full: bool) -> None:
    world = build_small_world()
    dataset = full(world) if is_full else world
    save_dataset(dataset, tmp_path / "world")
    opened = open_dataset(tmp_path / "world")
    assert list(opened.catalogue) == list(dataset.catalogue)
    assert opened.catalogue.vocabulary == dataset.catalogue.vocabulary
    assert opened.users == dataset.users
    assert (opened.cut, opened.action_names) == (dataset.cut, dataset.action_names)
    for name in ("events", "negatives", "impressions"):
        for field in (field for field in fields(getattr(dataset, name)) if field.init):
            left, right = (getattr(getattr(part, name), field.name) for part in (opened, dataset))
            assert (left is None) == (right is None)
            if right is not None:
                np.testing.assert_array_equal(left, right)
                assert left.dtype == right.dtype
    if is_full:
        assert opened.countries is not None and dataset.countries is not None
        assert opened.countries.names == dataset.countries.names
        np.testing.assert_array_equal(opened.countries.of_users, dataset.countries.of_users)
        np.testing.assert_array_equal(opened.countries.given, dataset.countries.given)
    assert list(opened.user_groups) == list(dataset.user_groups)
    for name, groups in dataset.user_groups.items():
        assert opened.user_groups[name].names == groups.names
        np.testing.assert_array_equal(opened.user_groups[name].of_users, groups.of_users)
    assert len(opened.requests) == len(dataset.requests)
    for request, expected in zip(opened.requests, dataset.requests, strict=True):
        for field in fields(LoggedRequest):
            found, wanted = getattr(request, field.name), getattr(expected, field.name)
            if isinstance(wanted, np.ndarray):
                np.testing.assert_array_equal(found, wanted)
                assert found.dtype == wanted.dtype
            else:
                assert list(found) == list(wanted) if field.name == "actions" else found == wanted
