from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset, EventLog
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.items.features import ItemFeatures
from serendip.data.query import History, Query
from serendip.data.vocabulary import Vocabulary
from serendip.models.transitions import Transitions, TransitionsConfig
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


class TestTransitionsAndContent(AddingVotesContract, RecommenderContract):
    @classmethod
    def make(cls) -> Transitions:
        return Transitions(TransitionsConfig(num_neighbours=4, content_weight=0.1))


PLAIN = TransitionsConfig(mode="plain", decay=0.5, num_gaps=3, backward_weight=0.5)
SPREAD = PLAIN.model_copy(update={"mode": "spread", "num_neighbours": 1, "spread_weight": 0.5})


def dataset_of(*sequences: list[int], num_items: int = 4) -> Dataset:
    users = [user for user, items in enumerate(sequences) for _ in items]
    items = [item for sequence in sequences for item in sequence]
    count = len(items)
    log = EventLog(
        np.asarray(users, np.int32),
        np.asarray(items, np.int32),
        np.arange(count, dtype=np.float64),
        np.zeros(count, np.bool_),
        np.zeros(count, np.float32),
    )
    names = [str(number) for number in range(num_items)]
    people = Vocabulary(str(user) for user in range(len(sequences)))
    return Dataset(Catalogue(map(Item, names)), people, log)


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


def test_the_graph_is_the_one_computed_by_hand() -> None:
    model = Transitions(PLAIN).train(dataset_of([0, 1, 2], [0, 2]))
    scores = model.score_all([source(item) for item in range(4)])
    np.testing.assert_allclose(scores, SCALED, rtol=1e-6)


def test_a_posted_item_is_reached_like_its_content_neighbour() -> None:
    vectors = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    dataset = with_content(dataset_of([0, 1, 2], [0, 2], num_items=3), vectors)
    new = ItemFeatures(np.asarray([[0, 0.8, 0.6]], dtype=np.float32), np.zeros((1, 1), np.int32), 1)
    scores = Transitions(SPREAD).train(dataset).with_items(new).score_all([source(0)])[0]
    assert scores[3] == pytest.approx(0.5 * SCALED[0, 1])


def test_spread_without_features_is_plain() -> None:
    dataset = dataset_of([0, 1, 2], [0, 2])
    queries = [source(item) for item in range(4)]
    plain = Transitions(PLAIN).train(dataset).score_all(queries)
    spread = Transitions(SPREAD).train(dataset).score_all(queries)
    assert np.array_equal(plain, spread)


def number(*numbers: int) -> IntArray:
    return np.asarray(numbers, dtype=np.int32)


def test_votes_are_the_steps_from_each_item_of_the_context() -> None:
    model = Transitions(PLAIN).train(dataset_of([0, 1, 2], [0, 2]))
    items, votes = model.votes(source(0, 1, 3), number(2, 0))
    assert items.tolist() == [0, 1, 3]
    expected = [[SCALED[0, 2], 0], [SCALED[1, 2], SCALED[1, 0]], [0, 0]]
    np.testing.assert_allclose(votes, expected, rtol=1e-6)


def test_a_borrowed_step_is_a_vote_of_the_item_that_it_starts_from() -> None:
    dataset = dataset_of([0, 1, 2], [0, 2])
    vectors = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.8, 0.6]]
    model = Transitions(SPREAD).train(with_content(dataset, vectors))
    items, votes = model.votes(source(0), number(3))
    assert items.tolist() == [0]
    assert votes[0, 0] == pytest.approx(0.5 * SCALED[0, 1])


def test_only_the_strongest_of_a_long_context_vote() -> None:
    model = Transitions(PLAIN).train(dataset_of(list(range(12)), num_items=12))
    items, _ = model.votes(Query(history=History.of_items(number(*range(12)))), number(0))
    assert items.tolist() == [11, 10, 9, 8, 7, 6, 5, 4]


def changed(vector: list[float]) -> ItemFeatures:
    return ItemFeatures(np.asarray([vector], dtype=np.float32), np.zeros((1, 1), np.int32), 1)


def test_a_changed_item_borrows_the_steps_of_its_new_neighbour() -> None:
    vectors = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, 0.6, 0]]
    dataset = with_content(dataset_of([0, 1, 2], [0, 2]), vectors)
    model = Transitions(SPREAD).train(dataset).with_changed_items(number(3), changed([0, 0.8, 0.6]))
    from_changed, to_changed = model.score_all([source(3), source(0)])
    np.testing.assert_allclose(from_changed[:3], 0.5 * SCALED[1][:3], rtol=1e-6)
    assert to_changed[3] == pytest.approx(0.5 * SCALED[0, 1])


def test_who_borrowed_from_a_changed_item_borrows_elsewhere() -> None:
    dataset = dataset_of([0, 1, 2], [0, 2])
    vectors = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, 0.6, 0]]
    model = Transitions(SPREAD).train(with_content(dataset, vectors))
    model = model.with_changed_items(number(0), changed([0, 0, 1]))
    np.testing.assert_allclose(model.score_all([source(3)])[0, :3], 0.5 * SCALED[1][:3], rtol=1e-6)


def test_the_own_steps_of_a_changed_item_stay() -> None:
    dataset = dataset_of([0, 1, 2], [0, 2])
    vectors = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, 0.6, 0]]
    model = Transitions(SPREAD).train(with_content(dataset, vectors))
    model = model.with_changed_items(number(0), changed([0, 0, -1]))
    np.testing.assert_allclose(model.score_all([source(0)])[0, :3], SCALED[0][:3], rtol=1e-6)


@pytest.mark.parametrize("numbers", [[0], [5, 29], [29, 3, 11]])
def test_when_all_neighbours_count_a_change_is_a_training_with_the_new_content(
    numbers: list[int],
) -> None:
    world, new = build_small_world(), draw_features(9, len(numbers))
    assert world.features is not None
    config = TransitionsConfig(num_neighbours=30)
    content = world.features.content.copy()
    content[numbers] = new.content
    again = world.with_features(replace(world.features, content=content))
    # Items that were no neighbours (negative cosine) of a changed item are not looked at again.
    asked = [source(one) for one in numbers]
    model = Transitions(config).train(world).with_changed_items(number(*numbers), new)
    expected = Transitions(config).train(again)
    reached = np.flatnonzero(world.item_counts())
    np.testing.assert_allclose(
        model.score_all(asked)[:, reached], expected.score_all(asked)[:, reached], atol=1e-5
    )


@pytest.mark.parametrize("is_read", [False, True])
def test_items_posted_one_by_one_are_those_posted_at_once(is_read: bool) -> None:
    world, new = build_small_world(), draw_features(9, 12)
    trained = Transitions(TransitionsConfig(num_neighbours=4)).train(world)
    count = world.num_items
    asked = [source(count + 11), source(3), Query(history=History.of_items(number(count + 4, 7)))]
    model = trained
    for row in range(12):
        model = model.with_items(new.rows(number(row)))
        if is_read and row % 3 != 1:
            model.score_all([source(count + row), source(3)])
        if row == 7:
            model = model.with_changed_items(number(count + 2, count), draw_features(8, 2))
    draft = new.rows(np.arange(12, dtype=np.int32))
    final = draft.with_rows(number(2, 0), draw_features(8, 2))
    expected = trained.with_items(final).score_all(asked)
    np.testing.assert_allclose(model.score_all(asked), expected, atol=1e-5)


def dense_line(world: Dataset, config: TransitionsConfig, seen: list[int]) -> FloatArray:
    """``h (M + w P M) + c (h E) E^T`` of one history, with loops and dense matrices."""
    assert world.features is not None
    content, count = world.features.content, world.num_items
    steps = np.zeros((count, count))
    for history in map(world.history, range(world.num_users)):
        for place, target in enumerate(history.item_nums):
            for gap in range(1, min(config.num_gaps, place) + 1):
                if (begin := history.item_nums[place - gap]) != target:
                    steps[begin, target] += 1 / gap
                    steps[target, begin] += config.backward_weight / gap
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
    return scores + config.content_weight * (context @ content) @ content.T


def test_steps_borrowed_steps_and_content_make_the_written_formula() -> None:
    world, seen = build_small_world(), [2, 0, 9, 2, 1, 28]
    config = TransitionsConfig(
        num_gaps=3, decay=0.5, num_neighbours=5, spread_weight=0.5, content_weight=0.1
    )
    model, query = Transitions(config).train(world), Query(history=History.of_items(number(*seen)))
    expected = dense_line(world, config, seen)
    assert not world.item_counts()[28:].any()
    np.testing.assert_allclose(model.score_all([query])[0], expected, rtol=0, atol=1e-6)


def test_a_posted_item_has_its_cosine_to_the_context() -> None:
    config = PLAIN.model_copy(update={"content_weight": 0.1})
    dataset = with_content(dataset_of([0, 1], num_items=2), [[1, 0], [0, 1]])
    new = ItemFeatures(np.asarray([[0.6, 0.8]], dtype=np.float32), np.zeros((1, 1), np.int32), 1)
    scores = Transitions(config).train(dataset).with_items(new).score_all([source(0), source(2)])
    assert scores[0, 2] == pytest.approx(0.06)
    np.testing.assert_allclose(scores[1], [0.06, 0.08, 0.1], rtol=1e-6)


def test_content_counts_for_nothing_where_there_is_none() -> None:
    dataset = dataset_of([0, 1, 2], [0, 2])
    config = PLAIN.model_copy(update={"content_weight": 0.1})
    plain, asked = Transitions(PLAIN).train(dataset), [source(item) for item in range(4)]
    assert np.array_equal(
        Transitions(config).train(dataset).score_all(asked), plain.score_all(asked)
    )
