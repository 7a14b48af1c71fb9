from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bench_world import sequences, write_world

from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.data import Catalogue
from serendip.data.query import RETRIEVAL_TASKS as TASKS
from serendip.engine.stages.batch import Candidates
from serendip.engine.stages.pipeline import collect, run
from serendip.engine.state import EngineState
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip_bench.datasets.sequences import TEXT_FIELDS, read_sequences
from serendip_bench.ranking_values import rank_all
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
    """A split and the engine trained on it."""

    split: UnifiedSplit
    state: EngineState


def train_world(folder: Path, users: dict[str, list[str]]) -> World:
    dataset = read_sequences(write_world(folder, users))
    encoder = open_encoder(TextEncoderConfig(name="hashing"))
    texts = (dataset.catalogue.texts(fields) for fields in (TEXT_FIELDS, QUERY_FIELDS))
    content, words = (encoder.encode(field_texts) for field_texts in texts)
    split = build_unified_split(dataset, words)
    config = RetrieverConfig(embedding_size=8, epochs=2, num_negatives=8, slots=2)
    features, _ = split.sequences.features(content, SEMANTIC_IDS, 0)
    train = split.sequences.train.with_features(features)
    retriever = Retriever(config).train(train, TrainOptions(0))
    catalogue = Catalogue(dataset.catalogue[int(n)] for n in split.sequences.numbers)
    state = build_engine_state(split.sequences, content, catalogue, retriever, 0, folder / "words")
    return World(split, state)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return train_world(tmp_path_factory.mktemp("engine") / "circles", sequences())


def steps(requests: RequestSet) -> list[tuple[int, int]]:
    """(last item, target) of each request."""
    last = [(*query.history.item_nums, *query.source_items)[-1] for query in requests.queries]
    return [(int(item), int(target)) for item, target in zip(last, requests.items, strict=True)]


def test_evaluation_steps_of_one_task_are_training_steps_of_none(world: World) -> None:
    training, evaluation = split_requests(world.split.validation, seed=0)
    assert set(training) == set(evaluation) == set(TASKS)
    training_steps, evaluation_steps = (
        {step for requests in part.values() for step in steps(requests)}
        for part in (training, evaluation)
    )
    assert not training_steps & evaluation_steps
    assert len(evaluation_steps) == -(-len(training_steps | evaluation_steps) // 10)
    for task, requests in world.split.validation.items():
        assert sorted(steps(training[task]) + steps(evaluation[task])) == sorted(steps(requests))


def test_training_rows_are_the_target_and_sampled_candidates_as_served(
    world: World,
) -> None:
    validation = world.split.validation
    rows = build_training_rows(validation, SURFACES, world.state, seed=0)
    assert rows.features.shape == (len(rows), len(FEATURES))
    assert rows.labels.shape == (len(rows), 1)
    groups, sizes = np.unique(rows.group, return_counts=True)
    assert (np.diff(rows.group) >= 0).all()
    assert sizes.max() <= 1 + NEGATIVES
    assert np.bincount(rows.group, rows.labels[:, 0])[groups].tolist() == [1.0] * len(groups)
    task = rows.task[np.searchsorted(rows.group, groups)]
    assert np.bincount(task).tolist() == [len(validation[name].items) for name in TASKS]
    # All 30 items are candidates, so the rows are all that would be ranked.
    first = {name: int(rows.group[rows.task == number][0]) for number, name in enumerate(TASKS)}
    for name in TASKS:
        requests = validation[name]
        candidates, features = collect(requests.queries, SURFACES[name], world.state)
        in_group, items = rows.group == first[name], candidates.items[candidates.rows == 0]
        assert items[rows.labels[in_group, 0] == 1].tolist() == [requests.items[0]]
        np.testing.assert_array_equal(rows.features[in_group], features[candidates.rows == 0])


def test_ranks_among_candidates_count_ties_half() -> None:
    candidates = Candidates(
        np.array([0, 0, 0, 0, 1, 1], np.int32), np.array([2, 5, 7, 9, 2, 3], np.int32)
    )
    values = np.array([0.5, 0.9, 0.5, 0.1, 0.2, 0.3], np.float32)
    ranks = rank_among_candidates(values, candidates, np.array([7, 8, 1], np.int32))
    np.testing.assert_array_equal(ranks, [2.5, np.nan, np.nan])
    assert rank_among_candidates(values, candidates, np.array([5, 2], np.int32)).tolist() == [
        1.0,
        2.0,
    ]


@pytest.mark.parametrize("task", TASKS)
def test_ranks_are_those_of_a_dense_ranking_with_the_candidates_first(
    world: World, task: str
) -> None:
    requests = world.split.tests[task]
    candidates, features = collect(requests.queries, FEW[task], world.state)
    column = FEATURES.index("content")
    dense = world.state.models["retriever"].score_all(requests.queries) - 1e3
    dense[candidates.rows, candidates.items] = features[:, column]
    expected = rank_all(
        lambda rows: dense[rows], requests.items, [q.exclude for q in requests.queries]
    )
    clock = StageClock()
    by_content = {"content": lambda features, tasks: features[:, column]}
    ranks = rank_targets(FEW[task], requests, world.state, by_content, clock)
    np.testing.assert_array_equal(ranks["content"], expected.ranks)
    assert {stage.name for stage in clock.stages} == {"candidates", "content"}


def test_listed_ranks_are_positions_in_the_served_list_then_those_of_the_retriever(
    world: World,
) -> None:
    few = SURFACES["search"].model_copy(update={"sources": {"words": 3, "retriever": 2}})
    requests = world.split.tests["search"]
    ranks = rank_listed_targets(few, requests, world.state)
    dense = world.state.models["retriever"].score_all(requests.queries)
    lists = [result.items.item_nums.tolist() for result in run(requests.queries, few, world.state)]
    rows = zip(ranks.tolist(), requests.queries, requests.items.tolist(), lists, strict=True)
    for row, (rank, query, target, served) in enumerate(rows):
        behind = np.argsort(-dense[row], kind="stable").tolist()
        left = {*served, *query.exclude.tolist()}
        whole = [*served, *(item for item in behind if item not in left)]
        assert rank == 1 + whole.index(target)
    is_served = [
        target in served for target, served in zip(requests.items.tolist(), lists, strict=True)
    ]
    assert 0 < sum(is_served) < len(is_served)
