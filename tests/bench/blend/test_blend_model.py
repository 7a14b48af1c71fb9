from dataclasses import replace

import numpy as np
import pytest

from serendip.config import validate
from serendip.data import Dataset, FloatArray, History, Query
from serendip.errors import ConfigError, DataError
from serendip.models.transitions import Transitions, TransitionsConfig
from serendip.runtime.progress import TrainOptions
from serendip.testing import RecommenderContract, build_queries, build_small_world, draw_features
from serendip_bench.blend.config import BlendConfig, BlendPart, build_rank_fusion
from serendip_bench.blend.features import build_candidates
from serendip_bench.blend.model import Blend
from serendip_bench.splits import without_last_events

SMALL = BlendConfig(
    parts={
        "popularity": BlendPart(model="popularity"),
        "transitions": BlendPart(model="transitions", config={"mode": "plain"}),
        "content": BlendPart(model="content"),
    },
    num_candidates=8,
    hidden_size=8,
    epochs=3,
)


class TestBlend(RecommenderContract):
    stored_tolerance = 0.05  # the network adds up what its parts are rounded by

    @classmethod
    def make(cls) -> Blend:
        return Blend(SMALL)

    def assert_as_stored(self, actual: FloatArray, expected: FloatArray) -> None:
        """Rounding may swap a part's last candidate for one of nearly the same score.

        Candidates are at least 1 above the other items.
        """
        is_swapped = np.abs(actual - expected) >= 1  # (B, N)
        assert (is_swapped.sum(1) <= 2).all() and is_swapped.any(1).mean() <= 0.25
        super().assert_as_stored(np.where(is_swapped, expected, actual), expected)

    def test_new_items_leave_the_old_scores_alone(self, model: Blend, dataset: Dataset) -> None:
        """Other than its parts: a candidate's rank depends on who else is there."""
        more = model.with_late(draw_features(9, 4))
        asked = build_queries(dataset)
        assert more.score_all(asked).shape == (len(asked), dataset.num_items + 4)
        for name, part in more._parts.items():
            np.testing.assert_allclose(
                part.score_all(asked)[:, : dataset.num_items],
                model._parts[name].score_all(asked),
                atol=self.tolerance,
            )


def query(history: list[int], exclude: list[int]) -> Query:
    return Query(
        history=History.of_items(np.asarray(history)), exclude=np.asarray(exclude, np.int32)
    )


def test_with_nothing_to_learn_from_ranks_are_fused() -> None:
    first = np.asarray([[3.0, 2.0, 1.0]], np.float32)
    second = np.asarray([[2.0, 3.0, 1.0]], np.float32)
    found = build_candidates([query([], [])], [first, second], 3)
    values = build_rank_fusion(2)(found.features)[0]
    np.testing.assert_allclose(values, -np.log([2, 2, 9]), rtol=1e-6)


def followers(num_users: int = 300, num_items: int = 40) -> Dataset:
    """Item 2k is followed by 2k+1; content and popularity say nothing of it."""
    world = build_small_world(num_items=num_items, num_users=num_users, num_events=10)
    random = np.random.default_rng(0)
    pairs = random.integers(0, num_items // 2 - 1, (num_users, 3))
    items = np.stack([2 * pairs, 2 * pairs + 1], 2).reshape(num_users, 6).astype(np.int32)
    events = replace(
        world.events,
        users=np.repeat(np.arange(num_users, dtype=np.int32), 6),
        items=items.ravel(),
        timestamps=np.tile(np.arange(6.0), num_users),
        liked=np.zeros(6 * num_users, np.bool_),
        values=np.full(6 * num_users, np.nan, np.float32),
    )
    return replace(world, events=events)


def test_it_learns_which_part_is_right() -> None:
    dataset = followers()
    config = SMALL.model_copy(update={"epochs": 40, "batch_size": 16, "learning_rate": 0.02})
    model = Blend(config).train(dataset, TrainOptions(seed=1))
    asked = [query([20, 21, 2 * pair], [20, 21, 2 * pair]) for pair in range(1, 9)]
    best = [items.item_nums[0] for items in model.recommend(asked, 1)]
    assert best == [2 * pair + 1 for pair in range(1, 9)]


def test_trained_parts_are_used_as_they_are() -> None:
    dataset = without_last_events(followers())
    config = TransitionsConfig(mode="plain")
    given = Transitions(config).train(dataset)
    one = Blend(SMALL, {"transitions": given}).train(dataset, TrainOptions(seed=1))
    other = Blend(SMALL).train(dataset, TrainOptions(seed=1))
    asked = [query([4], [4])]
    np.testing.assert_array_equal(one.score_all(asked), other.score_all(asked))


def test_trained_parts_without_unseen_targets_are_refused() -> None:
    dataset = followers()
    given = Transitions().train(dataset)
    with pytest.raises(DataError, match="not seen"):
        Blend(SMALL, {"transitions": given}).train(dataset)


def test_an_unknown_value_of_a_part_is_named() -> None:
    config = BlendConfig(parts={"pop": BlendPart(model="popularity", config={"windw": 3})})
    with pytest.raises(ConfigError, match=r"parts\.pop\.config"):
        Blend(config).train(followers())
    assert validate(BlendConfig, config.model_dump(mode="json"), "test") == config
