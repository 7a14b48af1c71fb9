from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bench_world import NUM_ITEMS, sequences, write_world

from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.data.item import Catalogue
from serendip.data.query import TASKS
from serendip.engine.stages.batch import Candidates
from serendip.engine.stages.pipeline import collect, run
from serendip.engine.state import EngineState
from serendip.errors import DataError
from serendip.evaluate.full_ranking import rank_all
from serendip.models.ranker.config import RankerConfig
from serendip.models.ranker.model import Ranker
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip.search.searcher import Searcher
from serendip_bench.datasets.sequences import TEXT_FIELDS, read_sequences
from serendip_bench.sequential.models import SEMANTIC_IDS
from serendip_bench.splits import RequestSet
from serendip_bench.unified.engine_candidates import (
    FEATURES,
    NEGATIVES,
    SETTINGS,
    build_engine_state,
    build_training_rows,
    rank_among_candidates,
    rank_listed_targets,
    rank_targets,
    split_requests,
)
from serendip_bench.unified.tasks import QUERY_FIELDS, UnifiedSplit, build_unified_split

SURFACES = SETTINGS.all_surfaces()
FEW = {
    name: SURFACES[name].model_copy(update={"sources": {"transitions": 2, "retriever": 1}})
    for name in TASKS
}


@dataclass(frozen=True)
class World:
    """A trial and the engine that was fitted on it."""

    trial: UnifiedSplit
    state: EngineState


def fitted(folder: Path, users: dict[str, list[str]]) -> World:
    dataset = read_sequences(write_world(folder, users))
    encoder = open_encoder(TextEncoderConfig(name="hashing"))
    texts = (dataset.catalogue.texts(fields) for fields in (TEXT_FIELDS, QUERY_FIELDS))
    content, words = (encoder.encode(one) for one in texts)
    trial = build_unified_split(dataset, words)
    config = RetrieverConfig(embedding_size=8, epochs=2, num_negatives=8, slots=2)
    known, _ = trial.sequences.features(content, SEMANTIC_IDS, 0)
    train = trial.sequences.train.with_features(known)
    retriever = Retriever(config).train(train, TrainOptions(0))
    catalogue = Catalogue(dataset.catalogue[int(n)] for n in trial.sequences.numbers)
    state = build_engine_state(trial.sequences, content, catalogue, retriever, 0, folder / "words")
    return World(trial, state)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return fitted(tmp_path_factory.mktemp("engine") / "circles", sequences())


def steps(asked: RequestSet) -> list[tuple[int, int]]:
    """The last item and what came next, of each request."""
    last = [(*query.history.item_nums, *query.source_items)[-1] for query in asked.queries]
    return [(int(item), int(wanted)) for item, wanted in zip(last, asked.items, strict=True)]


def test_what_judges_one_task_is_learned_in_none(world: World) -> None:
    learned, judged = split_requests(world.trial.validation, seed=0)
    assert set(learned) == set(judged) == set(TASKS)
    taught, judges = (
        {step for asked in part.values() for step in steps(asked)} for part in (learned, judged)
    )
    assert not taught & judges
    assert len(judges) == -(-len(taught | judges) // 10)
    for task, asked in world.trial.validation.items():
        assert sorted(steps(learned[task]) + steps(judged[task])) == sorted(steps(asked))


def test_rows_are_what_came_next_and_some_other_candidates_as_they_are_served(
    world: World,
) -> None:
    validation = world.trial.validation
    rows = build_training_rows(validation, SURFACES, world.state, seed=0)
    assert rows.features.shape == (len(rows), len(FEATURES))
    assert rows.labels.shape == (len(rows), 1)
    groups, sizes = np.unique(rows.group, return_counts=True)
    assert (np.diff(rows.group) >= 0).all()
    assert sizes.max() <= 1 + NEGATIVES
    assert np.bincount(rows.group, rows.labels[:, 0])[groups].tolist() == [1.0] * len(groups)
    task = rows.task[np.searchsorted(rows.group, groups)]
    assert np.bincount(task).tolist() == [len(validation[name].items) for name in TASKS]
    # With 30 items all of them are candidates, so that the rows are all that would be ranked.
    first = {name: int(rows.group[rows.task == number][0]) for number, name in enumerate(TASKS)}
    for name in TASKS:
        asked = validation[name]
        found, features = collect(asked.queries, SURFACES[name], world.state)
        own, items = rows.group == first[name], found.items[found.rows == 0]
        assert items[rows.labels[own, 0] == 1].tolist() == [asked.items[0]]
        np.testing.assert_array_equal(rows.features[own], features[found.rows == 0])


def test_requests_without_their_item_among_the_candidates_teach_nothing(world: World) -> None:
    home = world.trial.validation["home"]
    rows = build_training_rows({"home": home}, FEW, world.state, seed=0)
    found, _ = collect(home.queries, FEW["home"], world.state)
    hits = {int(row) for row in found.rows[found.items == home.items[found.rows]]}
    assert 0 < len(hits) < len(home.items)
    assert {int(group) for group in rows.group} == hits
    missed = RequestSet(home.queries, np.array([q.exclude[0] for q in home.queries], np.int32))
    with pytest.raises(DataError, match="None of 40 requests has its target"):
        build_training_rows({"home": missed}, FEW, world.state, seed=0)


def test_places_count_ties_half() -> None:
    candidates = Candidates(
        np.array([0, 0, 0, 0, 1, 1], np.int32), np.array([2, 5, 7, 9, 2, 3], np.int32)
    )
    values = np.array([0.5, 0.9, 0.5, 0.1, 0.2, 0.3], np.float32)
    found = rank_among_candidates(values, candidates, np.array([7, 8, 1], np.int32))
    np.testing.assert_array_equal(found, [2.5, np.nan, np.nan])
    assert rank_among_candidates(values, candidates, np.array([5, 2], np.int32)).tolist() == [
        1.0,
        2.0,
    ]


@pytest.mark.parametrize("task", TASKS)
def test_ranks_are_those_of_a_dense_ranking_with_the_candidates_first(
    world: World, task: str
) -> None:
    asked = world.trial.tests[task]
    found, features = collect(asked.queries, FEW[task], world.state)
    column = FEATURES.index("content")
    dense = world.state.models["retriever"].score_all(asked.queries) - 1e3
    dense[found.rows, found.items] = features[:, column]
    expected = rank_all(lambda rows: dense[rows], asked.items, [q.exclude for q in asked.queries])
    clock = StageClock()
    by_content = {"content": lambda features, tasks: features[:, column]}
    ranks = rank_targets(FEW[task], asked, world.state, by_content, clock)
    np.testing.assert_array_equal(ranks["content"], expected.ranks)
    assert {stage.name for stage in clock.stages} == {"candidates", "content"}


def test_listed_ranks_are_places_in_the_list_that_is_served_then_by_the_retriever(
    world: World,
) -> None:
    few = SURFACES["search"].model_copy(update={"sources": {"words": 3, "retriever": 2}})
    asked = world.trial.tests["search"]
    ranks = rank_listed_targets(few, asked, world.state)
    dense = world.state.models["retriever"].score_all(asked.queries)
    lists = [one.items.item_nums.tolist() for one in run(asked.queries, few, world.state)]
    places = zip(ranks.tolist(), asked.queries, asked.items.tolist(), lists, strict=True)
    for place, (rank, query, wanted, served) in enumerate(places):
        behind = np.argsort(-dense[place], kind="stable").tolist()
        left = {*served, *query.exclude.tolist()}
        whole = [*served, *(item for item in behind if item not in left)]
        assert rank == 1 + whole.index(wanted)
    found = [wanted in served for wanted, served in zip(asked.items.tolist(), lists, strict=True)]
    assert 0 < sum(found) < len(found)


def test_test_items_change_nothing_that_is_learned(world: World, tmp_path: Path) -> None:
    others = sequences()
    for place, items in enumerate(others.values()):
        free = [f"i{n}" for n in range(NUM_ITEMS) if f"i{n}" not in items]
        items[-1] = free[place % len(free)]
    changed = fitted(tmp_path / "other", others)
    assert not (changed.trial.tests["home"].items == world.trial.tests["home"].items).any()
    rows, same = (
        build_training_rows(split_requests(one.trial.validation, 0)[0], SURFACES, one.state, seed=0)
        for one in (world, changed)
    )
    for name in ("features", "task", "labels", "group"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(same, name))
    config = RankerConfig(actions=("interact",), epochs=1)
    first, second = (
        Ranker(config).train(one, FEATURES).predict(rows.features, rows.task)
        for one in (rows, same)
    )
    np.testing.assert_array_equal(first, second)


def test_a_remembered_search_is_a_search_without_what_is_excluded(world: World) -> None:
    searcher = world.state.searcher
    for query in world.trial.tests["search"].queries[:8]:
        allowed = np.ones(NUM_ITEMS, np.bool_)
        allowed[query.exclude] = False
        found = searcher.search(query.text, 2, allowed)
        whole = Searcher.search(searcher, query.text, NUM_ITEMS)
        kept = [item for item in whole.item_nums.tolist() if allowed[item]]
        assert found.item_nums.tolist() == kept[:2]
        assert len(kept) > 2
