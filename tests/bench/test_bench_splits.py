from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench_world import NUM_ITEMS, sequences, write_world

from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig
from serendip.data.query import History, Query
from serendip.models.transitions import Transitions
from serendip_bench.datasets.sequences import read_sequences
from serendip_bench.splits import COLD_SHARE, BenchSplit, build_cold_split, build_sequential_split


def ids(trial: BenchSplit, numbers: np.ndarray) -> list[str]:
    return [f"i{trial.numbers[number]}" for number in numbers]


def test_the_last_item_is_asked_for_with_the_last_but_one_as_input(tmp_path: Path) -> None:
    trial = build_sequential_split(read_sequences(write_world(tmp_path)))
    users = {user: items for user, items in sequences().items() if items[-1] not in items[:-1]}
    assert len(trial.test.queries) == len(users)
    for query, target in zip(trial.test.queries, trial.test.items, strict=True):
        items = users[query.user_id]
        assert ids(trial, query.history.item_nums) == items[:-1]
        assert ids(trial, [target]) == items[-1:]
        assert set(ids(trial, query.exclude)) == set(items[:-1])
    for query, target in zip(trial.validation.queries, trial.validation.items, strict=True):
        items = sequences()[query.user_id]
        assert ids(trial, query.history.item_nums) == items[:-2]
        assert ids(trial, [target]) == [items[-2]]
        trained = trial.train.history(trial.train.users.number(query.user_id))
        assert ids(trial, trained.item_nums) == items[:-2]
    assert sorted(trial.numbers.tolist()) == list(range(NUM_ITEMS))
    assert not trial.cold.any()


def test_early_stopping_sees_the_validation_targets_and_nothing_later(tmp_path: Path) -> None:
    trial = build_sequential_split(read_sequences(write_world(tmp_path)))
    held_out = trial.train.validation
    assert held_out is not None
    for user, item in zip(held_out.users, held_out.items, strict=True):
        assert ids(trial, [item]) == [sequences()[trial.train.users.id(user)][-2]]


def test_users_with_fewer_than_three_items_are_only_learned_from(tmp_path: Path) -> None:
    users = {**sequences(), "short": ["i1", "i2"]}
    trial = build_sequential_split(read_sequences(write_world(tmp_path, users)))
    assert "short" not in {query.user_id for query in trial.test.queries}
    assert len(trial.train.history(trial.train.users.number("short"))) == 2


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
        trial = make(read_sequences(write_world(tmp_path / name, users)))
        content = np.random.default_rng(0).normal(size=(NUM_ITEMS, 4)).astype(np.float32)
        known, new = trial.features(content, ResidualKMeansConfig(), seed=0)
        model = Transitions().train(trial.train.with_features(known)).with_items(new)
        history = History.of_items(trial.train.catalogue.vocabulary.numbers(["i4", "i7"]))
        scores.append((known.codes, trial.numbers, model.score_all([Query(history=history)])))
    for one, other in zip(*scores, strict=True):
        np.testing.assert_array_equal(one, other)


def test_cold_items_are_in_no_training_and_in_no_history(tmp_path: Path) -> None:
    dataset = read_sequences(write_world(tmp_path))
    for seed in range(8):
        trial = build_cold_split(dataset, seed)
        cold = set(np.flatnonzero(trial.cold).tolist())
        assert len(cold) == round(COLD_SHARE * NUM_ITEMS)
        assert min(cold) >= trial.train.num_items
        for asked in (trial.test, trial.validation):
            for query in asked.queries:
                assert not cold & set(query.history.item_nums.tolist())
                assert not cold & set(query.exclude.tolist())
        assert not cold & set(trial.validation.items.tolist())
        assert trial.train.validation is not None
        assert not cold & set(trial.train.validation.items.tolist())
        assert trial.train.catalogue.vocabulary.ids == tuple(
            ids(trial, np.arange(trial.train.num_items))
        )


def test_everything_that_is_not_cold_is_as_before(tmp_path: Path) -> None:
    dataset = read_sequences(write_world(tmp_path))
    whole, trial = build_sequential_split(dataset), build_cold_split(dataset, 3)
    cold = set(ids(trial, np.flatnonzero(trial.cold)))
    assert [query.user_id for query in trial.test.queries] == [
        query.user_id for query in whole.test.queries
    ]
    assert ids(trial, trial.test.items) == ids(whole, whole.test.items)
    assert cold & set(ids(trial, trial.test.items))
    for query, before in zip(trial.test.queries, whole.test.queries, strict=True):
        kept = [item for item in ids(whole, before.history.item_nums) if item not in cold]
        assert ids(trial, query.history.item_nums) == kept
        user = query.user_id
        trained = ids(whole, whole.train.history(whole.train.users.number(user)).item_nums)
        assert ids(trial, trial.train.history(trial.train.users.number(user)).item_nums) == [
            item for item in trained if item not in cold
        ]


def test_seeds_take_other_items_out(tmp_path: Path) -> None:
    dataset = read_sequences(write_world(tmp_path))
    drawn = [
        set(build_cold_split(dataset, seed).numbers[build_cold_split(dataset, seed).cold].tolist())
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_features_follow_the_items_and_codes_are_fitted_to_known_ones(tmp_path: Path) -> None:
    trial = build_cold_split(read_sequences(write_world(tmp_path)), 3)
    content = np.eye(NUM_ITEMS, dtype=np.float32)
    known, new = trial.features(content, ResidualKMeansConfig(codebook_size=4), seed=0)
    assert np.concatenate([known.content, new.content]).argmax(1).tolist() == trial.numbers.tolist()
    assert len(known) == trial.train.num_items
    assert known.codes.shape[1] == new.codes.shape[1] == 3
    bare, _ = trial.features(content, None, seed=0)
    assert bare.codes.shape == (len(known), 0)
