from dataclasses import replace

import next_item_world
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.dataset import EventLog, QueryExamples
from serendip.errors import DataError
from serendip.models.retriever.batches import BatchBuilder, PackedLog, cut_rows
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.requests import HOME, NONE, SEARCH, SIMILAR, TASK_OF, gap_buckets


def log_of(users: list[int], seconds: list[int]) -> EventLog:
    """Event e is about item e, so that a batch tells which events it shows."""
    return next_item_world.log_of(users, range(len(users)), sorted(seconds))


logs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60).map(
    lambda rows: log_of([user for user, _ in rows], [second for _, second in rows])
)
configs = st.builds(
    RetrieverConfig,
    max_len=st.integers(1, 12),
    slots=st.integers(0, 3),
    blind_share=st.sampled_from([0.0, 0.5]),
)


@given(logs, st.integers(1, 12), st.integers(0, 2**20))
def test_rows_cover_every_event_once_and_hold_at_most_max_len(log, max_len, seed) -> None:
    packed = PackedLog(log, np.ones(len(log), np.bool_))
    offsets = np.random.default_rng(seed).integers(0, 2**31, len(packed.starts))
    rows = cut_rows(packed, max_len, offsets)
    covered = np.concatenate(
        [np.arange(low, high) for low, high in zip(rows.first, rows.end, strict=True)]
    )
    assert sorted(covered.tolist()) == list(range(len(log)))
    assert (rows.end - rows.begin <= max_len).all()
    for begin, end in zip(rows.begin, rows.end, strict=True):
        assert len(set(packed.users[begin:end].tolist())) == 1


@given(logs, configs, st.integers(0, 1000))
def test_a_home_request_sees_only_its_user_strictly_before_its_target(log, config, seed) -> None:
    maker = BatchBuilder(PackedLog(log, np.ones(len(log), np.bool_)), None, config)
    predicted = []
    for batch in maker.epoch(4, np.random.default_rng(seed)):
        for row, column in zip(
            *np.nonzero((batch.target != NONE) & (batch.task == HOME)), strict=True
        ):
            target = batch.target[row, column]
            predicted.append(int(target))
            seen = batch.items[row][batch.places[row] < batch.prefix[row, column]]
            assert (log.timestamps[seen] < log.timestamps[target]).all()
            assert (log.users[seen] == log.users[target]).all()
            source = batch.source[row, column]
            assert source == (seen[-1] if len(seen) else NONE)
    assert sorted(predicted) == list(range(len(log)))


@given(logs, st.integers(0, 1000))
def test_a_similar_request_leads_to_the_next_event(log, seed) -> None:
    packed = PackedLog(log, np.ones(len(log), np.bool_))
    place = np.empty(len(log), np.int64)
    place[packed.items] = np.arange(len(log))
    maker = BatchBuilder(packed, None, RetrieverConfig(max_len=8))
    for batch in maker.epoch(4, np.random.default_rng(seed)):
        chosen = (batch.task == SIMILAR) & (batch.target != NONE)
        source, target = batch.source[chosen], batch.target[chosen]
        assert (log.users[source] == log.users[target]).all()
        assert (place[target] - place[source] == 1).all()


@given(logs, st.integers(0, 1000))
def test_a_search_request_pairs_a_query_with_its_item(log, seed) -> None:
    items = np.random.default_rng(seed).integers(0, len(log), 5).astype(np.int32)
    queries = QueryExamples([""] * 5, np.zeros((5, 2), np.float32), items)
    maker = BatchBuilder(PackedLog(log, np.ones(len(log), np.bool_)), queries, RetrieverConfig())
    batch = next(maker.epoch(4, np.random.default_rng(seed)))
    chosen = (batch.task == SEARCH) & (batch.target != NONE)
    assert chosen.any()
    assert (items[batch.query[chosen]] == batch.target[chosen]).all()


@given(logs, st.integers(0, 1000))
def test_hidden_queries_are_never_drawn(log, seed) -> None:
    random = np.random.default_rng(seed)
    items = random.integers(0, len(log), 8).astype(np.int32)
    drawn = random.random(8) < 0.5
    drawn[0] = True
    queries = QueryExamples([""] * 8, np.zeros((8, 2), np.float32), items)
    packed = PackedLog(log, np.ones(len(log), np.bool_))
    maker = BatchBuilder(packed, queries, RetrieverConfig(max_len=60), drawn)
    rows = cut_rows(packed, 60, np.zeros(len(packed.starts), np.int64))
    asked = maker.asked_batch(rows, SEARCH)
    found = asked.target != NONE
    assert set(asked.target[found].tolist()) == set(items[drawn].tolist())
    for batch in (asked, *maker.epoch(4, random)):
        query = batch.query[batch.query != NONE]
        assert drawn[query].all()


@given(logs, configs, st.integers(0, 1000))
def test_a_request_counts_as_much_as_the_event_that_it_foretells(log, config, seed) -> None:
    random = np.random.default_rng(seed)
    items = random.integers(0, len(log), 5).astype(np.int32)
    queries = QueryExamples([""] * 5, np.zeros((5, 2), np.float32), items)
    strengths = random.random(len(log)).astype(np.float32)
    packed = PackedLog(replace(log, strengths=strengths), np.ones(len(log), np.bool_))
    for batch in BatchBuilder(packed, queries, config).epoch(4, random):
        blind = (batch.task == SEARCH) & (batch.weight == 1.0)  # Words alone are no event.
        real = (batch.target != NONE) & ~blind
        assert np.array_equal(batch.weight[real], strengths[batch.target[real]])


def test_gaps_grow_and_who_learns_to_search_needs_queries() -> None:
    seconds = np.array([np.nan, 0.0, 5.0, 30.0, 1e9])
    assert gap_buckets(seconds).tolist() == [0, 1, 2, 3, 9]
    log = PackedLog(log_of([0], [0]), np.ones(1, np.bool_))
    with pytest.raises(DataError, match="needs queries"):
        BatchBuilder(log, None, RetrieverConfig(tasks=("search",)))


@given(logs, st.integers(0, 1000))
def test_what_is_asked_of_a_task_is_what_serving_is_asked(log, seed) -> None:
    random = np.random.default_rng(seed)
    allowed = random.random(len(log)) < 0.6
    items = random.integers(0, len(log), 5).astype(np.int32)
    queries = QueryExamples([""] * 5, np.zeros((5, 2), np.float32), items)
    packed = PackedLog(log, allowed)
    maker = BatchBuilder(packed, queries, RetrieverConfig(max_len=60))
    rows = cut_rows(packed, 60, np.zeros(len(packed.starts), np.int64))
    if not len(rows.begin):
        return
    asked = {task: maker.asked_batch(rows, task) for task in (HOME, SIMILAR, SEARCH)}
    targets = {task: sorted(one.target[one.target != NONE]) for task, one in asked.items()}
    has_past = {
        int(packed.items[event])
        for event, start in places_of(packed)
        if packed.strictly_before[event] > start
    }
    everything = set(np.flatnonzero(allowed).tolist())
    assert targets[HOME] == sorted(everything)
    assert targets[SIMILAR] == sorted(everything & has_past)
    assert targets[SEARCH] == sorted(everything & set(items.tolist()))
    assert (asked[SIMILAR].prefix == 0).all()
    assert (asked[SIMILAR].source[asked[SIMILAR].target != NONE] != NONE).all()
    assert (asked[HOME].query == NONE).all()
    assert (asked[SEARCH].source == NONE).all()
    found = asked[SEARCH].target != NONE
    assert (items[asked[SEARCH].query[found]] == asked[SEARCH].target[found]).all()


def places_of(packed: PackedLog) -> list[tuple[int, int]]:
    """Every event in packed order, with where its user's events begin."""
    starts = np.repeat(packed.starts, packed.lengths)
    return list(enumerate(starts.tolist()))


@pytest.mark.parametrize("task", ["home", "similar", "search"])
def test_a_specialist_learns_its_task_alone(task: str) -> None:
    log = log_of([0] * 12, list(range(12)))
    items = np.arange(12, dtype=np.int32)
    queries = QueryExamples([""] * 12, np.zeros((12, 2), np.float32), items)
    maker = BatchBuilder(
        PackedLog(log, np.ones(12, np.bool_)), queries, RetrieverConfig(tasks=(task,), slots=2)
    )
    batch = next(maker.epoch(100, np.random.default_rng(0)))
    assert (batch.task == TASK_OF[task]).all()
    assert (batch.target != NONE).any()


@pytest.mark.parametrize(("length", "slots"), [(25, 4), (13, 3), (12, 2), (6, 1), (1, 1)])
def test_shorter_rows_have_fewer_requests_in_proportion(length: int, slots: int) -> None:
    """25 events fill a block of the default ``max_len``."""
    log = log_of([0] * length, list(range(length)))
    queries = QueryExamples(["a"], np.zeros((1, 2), np.float32), np.zeros(1, np.int32))
    maker = BatchBuilder(PackedLog(log, np.ones(length, np.bool_)), queries, RetrieverConfig())
    rows = cut_rows(maker.log, 50, np.zeros(1, np.int64))
    batch = maker.batch(rows, np.random.default_rng(0))
    tasks = np.bincount(batch.task[0], minlength=3)
    assert tasks.tolist() == [length, slots, 2 * slots]
