from pathlib import Path

import numpy as np
import pytest
from bench_world import NUM_ITEMS, sequences, write_world

from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig
from serendip.data.query import History, Query
from serendip.models.transitions import Transitions
from serendip_bench.datasets.sequences import read_sequences
from serendip_bench.splits import COLD_SHARE, BenchSplit, build_cold_split, build_sequential_split


def ids(split: BenchSplit, numbers: np.ndarray) -> list[str]:
    return [f"i{split.numbers[number]}" for number in numbers]


def test_the_last_item_is_the_target_and_the_last_but_one_is_input(tmp_path: Path) -> None:
    split = build_sequential_split(read_sequences(write_world(tmp_path)))
    users = {user: items for user, items in sequences().items() if items[-1] not in items[:-1]}
    assert len(split.test.queries) == len(users)
    for query, target in zip(split.test.queries, split.test.items, strict=True):
        items = users[query.user_id]
        assert ids(split, query.history.item_nums) == items[:-1]
        assert ids(split, [target]) == items[-1:]
        assert set(ids(split, query.exclude)) == set(items[:-1])
    for query, target in zip(split.validation.queries, split.validation.items, strict=True):
        items = sequences()[query.user_id]
        assert ids(split, query.history.item_nums) == items[:-2]
        assert ids(split, [target]) == [items[-2]]
        trained = split.train.history(split.train.users.number(query.user_id))
        assert ids(split, trained.item_nums) == items[:-2]
    assert sorted(split.numbers.tolist()) == list(range(NUM_ITEMS))
    assert not split.cold.any()


@pytest.mark.parametrize(
    "make", [build_sequential_split, lambda dataset: build_cold_split(dataset, 3)]
)
def test_other_last_items_change_no_trained_model(tmp_path: Path, make) -> None:
    rng = np.random.default_rng(1)
    changed = {
        user: [*items[:-2], *(f"i{number}" for number in rng.choice(NUM_ITEMS, 2, replace=False))]
        for user, items in sequences().items()
    }
    assert changed != sequences()
    scores = []
    for name, users in (("a", sequences()), ("b", changed)):
        split = make(read_sequences(write_world(tmp_path / name, users)))
        content = np.random.default_rng(0).normal(size=(NUM_ITEMS, 4)).astype(np.float32)
        train_features, new_features = split.features(content, ResidualKMeansConfig(), seed=0)
        model = (
            Transitions().train(split.train.with_features(train_features)).with_late(new_features)
        )
        history = History.of_items(split.train.catalogue.vocabulary.numbers(["i4", "i7"]))
        scores.append(
            (train_features.codes, split.numbers, model.score_all([Query(history=history)]))
        )
    for left, right in zip(*scores, strict=True):
        np.testing.assert_array_equal(left, right)


def test_cold_items_are_in_no_training_and_in_no_history(tmp_path: Path) -> None:
    dataset = read_sequences(write_world(tmp_path))
    for seed in range(8):
        split = build_cold_split(dataset, seed)
        cold = set(np.flatnonzero(split.cold).tolist())
        assert len(cold) == round(COLD_SHARE * NUM_ITEMS)
        assert min(cold) >= split.train.num_items
        for requests in (split.test, split.validation):
            for query in requests.queries:
                assert not cold & set(query.history.item_nums.tolist())
                assert not cold & set(query.exclude.tolist())
        assert not cold & set(split.validation.items.tolist())
        assert split.train.validation is not None
        assert not cold & set(split.train.validation.items.tolist())
        assert split.train.catalogue.vocabulary.ids == tuple(
            ids(split, np.arange(split.train.num_items))
        )


def test_everything_that_is_not_cold_is_as_before(tmp_path: Path) -> None:
    dataset = read_sequences(write_world(tmp_path))
    sequential, split = build_sequential_split(dataset), build_cold_split(dataset, 3)
    cold = set(ids(split, np.flatnonzero(split.cold)))
    assert [query.user_id for query in split.test.queries] == [
        query.user_id for query in sequential.test.queries
    ]
    assert ids(split, split.test.items) == ids(sequential, sequential.test.items)
    assert cold & set(ids(split, split.test.items))
    for query, before in zip(split.test.queries, sequential.test.queries, strict=True):
        warm_items = [
            item for item in ids(sequential, before.history.item_nums) if item not in cold
        ]
        assert ids(split, query.history.item_nums) == warm_items
        user = query.user_id
        trained = ids(
            sequential, sequential.train.history(sequential.train.users.number(user)).item_nums
        )
        assert ids(split, split.train.history(split.train.users.number(user)).item_nums) == [
            item for item in trained if item not in cold
        ]
