import numpy as np
import pytest
from next_item_world import dataset_of

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.items.features import ItemFeatures
from serendip.data.query import History, Query
from serendip.models.item_to_item import Transitions, TransitionsConfig
from serendip.testing import (
    AddingVotesContract,
    LocalChangeContract,
    RecommenderContract,
    build_small_world,
    draw_features,
)


class TestPlainTransitions(AddingVotesContract, LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> Transitions:
        return Transitions(TransitionsConfig(mode="plain"))


class TestSpreadTransitions(AddingVotesContract, RecommenderContract):
    @classmethod
    def make(cls) -> Transitions:
        return Transitions(TransitionsConfig(mode="spread", num_neighbours=4))


PLAIN = TransitionsConfig(mode="plain", decay=0.5, num_gaps=3)
SPREAD = PLAIN.model_copy(update={"mode": "spread", "num_neighbours": 1, "spread_weight": 0.5})


def with_content(dataset: Dataset, vectors: list[list[float]]) -> Dataset:
    content = np.asarray(vectors, dtype=np.float32)
    codes = np.zeros((len(content), 1), dtype=np.int32)
    return dataset.with_features(ItemFeatures(content, codes, 1))


def source(*numbers: int) -> Query:
    return Query(source_items=np.asarray(numbers, dtype=np.int32))


# Sums over the histories 0 1 2 and 0 2: forward 1/gap, backward half of it.
STEPS = np.asarray(
    [
        [0.0, 1.0, 0.5 + 1.0, 0.0],
        [0.5, 0.0, 1.0, 0.0],
        [0.25 + 0.5, 0.5, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
    ]
)
SCALED = STEPS / np.sqrt(STEPS.sum(1, keepdims=True) + 1) / np.sqrt(STEPS.sum(0) + 1)


def test_the_graph_is_the_one_computed_by_hand_also_without_features() -> None:
    model = Transitions(PLAIN).train(dataset_of([0, 1, 2], [0, 2]))
    scores = model.score_all([source(item) for item in range(4)])
    np.testing.assert_allclose(scores, SCALED, rtol=1e-6)

    dataset = dataset_of([0, 1, 2], [0, 2])
    queries = [source(item) for item in range(4)]
    plain = Transitions(PLAIN).train(dataset).score_all(queries)
    spread = Transitions(SPREAD).train(dataset).score_all(queries)
    assert np.array_equal(plain, spread)


def number(*numbers: int) -> IntArray:
    return np.asarray(numbers, dtype=np.int32)


def test_steps_and_borrowed_steps_make_the_written_formula() -> None:
    dataset = dataset_of([0, 1, 2], [0, 2])
    vectors = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.8, 0.6]]
    model = Transitions(SPREAD).train(with_content(dataset, vectors))
    items, votes = model.votes(source(0), number(3))
    assert items.tolist() == [0]
    assert votes[0, 0] == pytest.approx(0.5 * SCALED[0, 1])

    world, seen = build_small_world(), [2, 0, 9, 2, 1, 28]
    config = TransitionsConfig(num_gaps=3, decay=0.5, num_neighbours=5, spread_weight=0.5)
    model, query = Transitions(config).train(world), Query(history=History.of_items(number(*seen)))
    expected = dense_line(world, config, seen)
    assert not world.item_counts()[28:].any()
    np.testing.assert_allclose(model.score_all([query])[0], expected, rtol=0, atol=1e-6)


def dense_line(world: Dataset, config: TransitionsConfig, seen: list[int]) -> FloatArray:
    """``h (M + w P M)`` of one history, with loops and dense matrices."""
    content, count = world.features.content, world.num_items
    steps = np.zeros((count, count))
    for history in map(world.history, range(world.num_users)):
        for place, target in enumerate(history.item_nums):
            for gap in range(1, min(config.num_gaps, place) + 1):
                if (begin := history.item_nums[place - gap]) != target:
                    steps[begin, target] += 1 / gap
                    steps[target, begin] += 0.5 / gap
    scaled = steps / np.sqrt(steps.sum(1, keepdims=True) + 1) / np.sqrt(steps.sum(0) + 1)
    nearest = content @ content.T
    np.fill_diagonal(nearest, 0)
    nearest[nearest < np.sort(nearest, axis=1)[:, -config.num_neighbours, None]] = 0
    nearest = np.maximum(nearest, 0) ** 4
    nearest /= nearest.sum(1, keepdims=True)
    context = np.zeros(count)
    for age, number in enumerate(reversed(seen)):
        context[number] += config.decay**age
    scores = context @ (scaled + config.spread_weight * nearest @ scaled)
    unreached = ~steps.any(0)
    scores[unreached] = config.spread_weight * (nearest @ scores)[unreached]
    return scores


def test_items_that_came_later_have_no_steps_and_change_none() -> None:
    world, new = build_small_world(), draw_features(9, 2)
    model, count = Transitions(SPREAD).train(world), world.num_items
    later = model.with_late(new).with_late(draw_features(8, 2), number(3, count))
    asked = [source(count, 3), source(count), source(3)]
    both, new_alone, known = later.score_all(asked)
    assert np.array_equal(both, known)
    assert not new_alone.any()
    assert not known[count:].any()
    assert np.array_equal(known[:count], model.score_all(asked)[2])
