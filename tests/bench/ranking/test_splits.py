from pathlib import Path

import numpy as np
import pytest
from bench_world import NUM_ITEMS, sequences, write_world

from serendip.data.query import History, Query
from serendip.models.item_to_item import Transitions
from serendip_bench.datasets.sequences import read_sequences
from serendip_bench.ranking.splits import COLD_SHARE, BenchSplit, split_sequences, split_tasks


def ids(split: BenchSplit, numbers: np.ndarray) -> list[str]:
    return [f"i{split.numbers[number]}" for number in numbers]


def test_the_last_item_is_the_target_and_the_last_but_one_is_input(tmp_path: Path) -> None:
    split = split_sequences(read_sequences(write_world(tmp_path)))
    users = {user: items for user, items in sequences().items() if items[-1] not in items[:-1]}
    test, validation = split.tests["home"], split.validation["home"]
    assert len(test.queries) == len(users)
    for query, target in zip(test.queries, test.items, strict=True):
        items = users[query.user_id]
        assert ids(split, query.history.item_nums) == items[:-1]
        assert ids(split, [target]) == items[-1:]
        assert set(ids(split, query.exclude)) == set(items[:-1])
    for query, target in zip(validation.queries, validation.items, strict=True):
        items = sequences()[query.user_id]
        assert ids(split, query.history.item_nums) == items[:-2]
        assert ids(split, [target]) == [items[-2]]
        trained = split.train.history(split.train.users.number(query.user_id))
        assert ids(split, trained.item_nums) == items[:-2]
    assert sorted(split.numbers.tolist()) == list(range(NUM_ITEMS))
    assert not split.is_cold.any()


@pytest.mark.parametrize("cold_seed", [None, 3])
def test_other_last_items_change_no_trained_model(tmp_path: Path, cold_seed: int | None) -> None:
    rng = np.random.default_rng(1)
    changed = {
        user: [*items[:-2], *(f"i{number}" for number in rng.choice(NUM_ITEMS, 2, replace=False))]
        for user, items in sequences().items()
    }
    assert changed != sequences()
    content, scores = np.random.default_rng(0).normal(size=(NUM_ITEMS, 4)), []
    for name, users in (("a", sequences()), ("b", changed)):
        split = split_sequences(read_sequences(write_world(tmp_path / name, users)), cold_seed)
        features, late = split.features(content.astype(np.float32), seed=0)
        model = Transitions().train(split.train.with_features(features)).with_late(late)
        history = History.of_items(split.train.catalogue.vocabulary.numbers(["i4", "i7"]))
        scores.append((features.codes, split.numbers, model.score_all([Query(history=history)])))
    for left, right in zip(*scores, strict=True):
        np.testing.assert_array_equal(left, right)


def test_cold_items_are_in_no_training_and_in_no_history(tmp_path: Path) -> None:
    dataset = read_sequences(write_world(tmp_path))
    whole = split_sequences(dataset)
    for seed in range(8):
        split = split_sequences(dataset, seed)
        cold = set(np.flatnonzero(split.is_cold).tolist())
        assert len(cold) == round(COLD_SHARE * NUM_ITEMS)
        assert min(cold) >= split.train.num_items
        for requests in (*split.tests.values(), *split.validation.values()):
            for query in requests.queries:
                assert not cold & set(query.history.item_nums.tolist())
                assert not cold & set(query.exclude.tolist())
        assert not cold & set(split.validation["home"].items.tolist())
        assert not cold & set(split.train.validation.items.tolist())
        known = ids(split, np.arange(split.train.num_items))
        assert split.train.catalogue.vocabulary.ids == tuple(known)
        assert set(split.tests["cold"].items.tolist()) <= cold
        # All else is as before.
        names = set(ids(split, np.array(sorted(cold))))
        before = {query.user_id: query for query in whole.tests["home"].queries}
        asked = [*split.tests["cold"].queries, *split.tests["warm"].queries]
        assert {query.user_id for query in asked} == before.keys()
        for query in asked:
            items = ids(whole, before[query.user_id].history.item_nums)
            warm = [item for item in items if item not in names]
            assert ids(split, query.history.item_nums) == warm


def test_requests_of_a_task_have_the_input_of_its_surface(tmp_path: Path) -> None:
    dataset = read_sequences(write_world(tmp_path))
    split = split_tasks(dataset).with_vectors(lambda texts: np.eye(len(texts), dtype=np.float32))
    home, search, similar = (split.tests[task] for task in ("home", "search", "similar"))
    vectors: dict[str, int] = {}
    for query, item in zip(search.queries, search.items.tolist(), strict=True):
        assert query.text == split.catalogue[item].field_text("category")
        place = int(query.text_vector.argmax())
        assert vectors.setdefault(query.text, place) == place
        assert len(query.history)
    assert len(set(vectors.values())) == len(vectors)
    last = {query.user_id: query.history.item_nums[-1] for query in home.queries}
    assert len(similar.queries) <= len(last)
    for query, item in zip(similar.queries, similar.items.tolist(), strict=True):
        assert (query.user_id, len(query.history)) == ("", 0)
        assert query.exclude.tolist() == query.source_items.tolist()
        assert item not in query.exclude
