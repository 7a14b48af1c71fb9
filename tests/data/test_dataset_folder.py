from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data.dataset import Dataset, UserCountries, open_dataset, save_dataset
from serendip.data.events.rejections import ImpressionLog, NegativeLog
from serendip.data.events.search_log import LoggedRequest
from serendip.data.items.catalogue import Catalogue
from serendip.data.users.user import Groups
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


def require_same(found: object, wanted: object) -> None:
    """Values are equal, and arrays of one type."""
    if isinstance(wanted, np.ndarray):
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == wanted.dtype
    elif is_dataclass(wanted):
        for field in (field for field in fields(wanted) if field.init):
            require_same(getattr(found, field.name), getattr(wanted, field.name))
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        require_same(list(found.values()), list(wanted.values()))
    elif isinstance(wanted, list | tuple | Catalogue):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            require_same(one, other)
    else:
        assert found == wanted


@pytest.mark.parametrize("is_full", [False, True])
def test_a_dataset_is_the_same_after_writing_and_opening(tmp_path: Path, is_full: bool) -> None:
    world = replace(build_small_world(), features=None, queries=None, quality=None)
    dataset = full(world) if is_full else world
    save_dataset(dataset, tmp_path / "world")
    require_same(open_dataset(tmp_path / "world"), dataset)
