from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from data_world import dataset_of

from serendip.data.events.repeats import Repeats
from serendip.data.query import TASKS, Query
from serendip.data.splits import Split, temporal
from serendip.engine.config.settings import Settings
from serendip.evaluate.decision import FEWEST
from serendip.jobs.surface_quality.requests import LabelledQuery
from serendip.jobs.train.ranker.choices import choose_baskets, find_newest, learned_rows, with_room
from serendip.jobs.train.ranker.requests import build_basket_requests
from serendip.jobs.train.ranker.sample import RankerSample
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import TrainOptions

HOUR = 3_600.0
PAST = [("u", "a", 0.0), ("u", "b", HOUR), ("v", "a", 2 * HOUR)]
FUTURE = [
    *(("u", item, 10 * HOUR + 60 * place) for place, item in enumerate("cde")),
    ("u", "f", 20 * HOUR),
    ("x", "a", 30 * HOUR),
    ("x", "g", 30 * HOUR),
]
"""Baskets of u, {c, d, e} and {f}, and of x, {a, g}."""


@pytest.fixture
def split() -> Split:
    rows = [*PAST, *FUTURE]
    dataset = dataset_of(rows)
    is_late = np.array([time >= 20 * HOUR for _, _, time in rows])
    events = replace(dataset.events, liked=is_late, actions=is_late.astype(np.int16))
    acted = replace(dataset, events=events, action_names=("click", "rate"))
    return temporal(acted, len(PAST) / len(rows))


def told(split: Split, asked: Sequence[LabelledQuery]) -> set[tuple[str, ...]]:
    """(user, history, source items, wanted items) of each request."""
    ids = split.catalogue.vocabulary
    return {
        (one.query.user_id, *("".join(sorted(ids.ids_of(items))) for items in
                        (one.query.history.item_nums, one.query.source_items, one.items)))
        for one in asked
    }  # fmt: skip


def build(split: Split, settings: Settings, most: int = 10) -> dict[str, list[LabelledQuery]]:
    rng = np.random.default_rng(0)
    return dict(build_basket_requests(split, Repeats(), settings, most, rng))


def test_baskets_of_the_newer_part_become_requests(split: Split) -> None:
    asked = build(split, Settings())
    assert told(split, asked["thank_you"]) == {("u", "ab", "b", "cde"), ("u", "abcde", "cde", "f")}
    carts = {row[0]: row for row in told(split, asked["cart"])}
    assert sorted(carts) == ["u", "x"]
    _, past, part, rest = carts["u"]
    assert (past, len(part), sorted(part + rest)) == ("ab", 1, ["c", "d", "e"])
    assert {one.query.task for one in asked["cart"]} == {"cart"}
    assert [one.query.time for one in asked["cart"] if one.query.user_id == "x"] == [30 * HOUR]
    assert len(build(split, Settings(), most=1)["thank_you"]) == 1


def test_wanted_items_have_the_labels_of_their_events(split: Split) -> None:
    asked = build(split, Settings())["thank_you"]
    labels = {told(split, [one]).pop()[3]: one.actions for one in asked}
    assert labels["cde"] == [frozenset({"interact", "click"})] * 3
    assert labels["f"] == [frozenset({"interact", "like", "rate"})]


def test_a_surface_of_another_task_is_not_asked_for_baskets(split: Split) -> None:
    settings = Settings.model_validate({"surfaces": {"cart": {"task": "similar"}}})
    assert list(build(split, settings)) == ["thank_you"]


QUICK = Settings().model_copy(
    update={"ranker": RankerConfig(epochs=3, learning_rate=0.1, validation_share=0.0)}
)


def world(signs: tuple[float, float, float], users: int = 200) -> RankerSample:
    """A request for similar items and a cart of each user, in order of time, of five candidates.

    The candidate with the largest feature times a sign is chosen: signs of similar items, of the
    older carts and of the newest ones.
    """
    rng, size = np.random.default_rng(0), 5
    features = rng.normal(size=(2 * users, size)).astype(np.float32)
    is_cart = np.arange(2 * users) % 2 == 1
    is_newest = np.arange(2 * users) >= 0.7 * 2 * users
    sign = np.where(is_cart, np.where(is_newest, signs[2], signs[1]), signs[0])
    best = (features * sign[:, None]).argmax(1)
    labels = (np.arange(size) == best[:, None]).astype(np.float32).reshape(-1, 1)
    numbers = np.where(is_cart, TASKS.index("cart"), TASKS.index("similar"))
    rows = RankerRows(
        features.reshape(-1, 1),
        np.repeat(numbers, size),
        np.repeat(labels, 2, axis=1),
        np.ones(len(labels), np.float32),
        np.repeat(np.arange(2 * users), size),
    )
    requests = [
        LabelledQuery(Query(time=float(number), user_id=f"u{number}"), np.array([0], np.int32), [])
        for number in range(2 * users)
    ]
    return RankerSample(rows, ("feature",), requests)


def test_baskets_are_learned_where_they_differ_from_similar_items() -> None:
    cart = choose_baskets(world((1.0, -1.0, -1.0)), QUICK, TrainOptions())["cart"]
    assert (cart.name, cart.on) == ("baskets: cart", True) and cart.n >= FEWEST
    assert cart.without + cart.gain > 0.7 > 0.5 > cart.without and cart.low > 0
    cart = choose_baskets(world((1.0, -1.0, 1.0)), QUICK, TrainOptions())["cart"]
    assert not cart.on
    assert cart.gain is not None and cart.gain < 0


def test_baskets_of_few_users_are_not_learned() -> None:
    found = choose_baskets(world((1.0, -1.0, -1.0), users=40), QUICK, TrainOptions())
    assert list(found) == ["cart"]
    assert (found["cart"].on, found["cart"].gain) == (False, None)
    assert f"fewer than {FEWEST} users" in found["cart"].reason
    similar = world((1.0, -1.0, -1.0), users=10)
    alone = replace(similar, rows=similar.rows.at(~similar.of_tasks(["cart"])))
    assert choose_baskets(alone, QUICK, TrainOptions()) == {}


def test_the_newest_baskets_and_what_is_later_are_learned_by_neither() -> None:
    sample = world((1.0, 1.0, 1.0), users=10)
    newest = find_newest(sample, "cart")
    assert np.flatnonzero(newest).tolist() == [15, 17, 19]  # of ten carts
    without, with_ = learned_rows(sample, {"cart": newest})
    assert without.group.max() == with_.group.max() == 14
    assert set(without.task.tolist()) == {TASKS.index("similar")}
    assert (with_.task == TASKS.index("cart")).any()


def test_a_ranker_orders_baskets_as_similar_items_until_it_has_learned_them() -> None:
    rows = world((1.0, -1.0, -1.0), users=20).rows
    config = with_room(QUICK.ranker.model_copy(update={"epochs": 1}), [0, 1, 3])
    plain = Ranker(config).train(rows, ["feature"], ordered_tasks=[0, 1])
    assert [plain.number_of(task) for task in TASKS] == [0, 1, 2, 1, 1]
    some = Ranker(config).train(rows, ["feature"], ordered_tasks=[0, 1, 3])
    assert [some.number_of(task) for task in TASKS] == [0, 1, 2, 3, 1]
