from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.dataset import EventLog, QueryExamples
from serendip.models.retriever import RetrieverConfig
from serendip.models.retriever_batches import NONE, BatchMaker, PackedLog, cut_rows
from serendip.models.retriever_context import HOME, SEARCH, SIMILAR, gap_buckets


def log_of(users: list[int], seconds: list[int]) -> EventLog:
    """Event e is about item e, so that a batch tells which events it shows."""
    count = len(users)
    return EventLog(
        np.asarray(users, np.int32),
        np.arange(count, dtype=np.int32),
        np.sort(np.asarray(seconds, np.float64)),
        np.zeros(count, np.bool_),
        np.zeros(count, np.float32),
    )


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
    maker = BatchMaker(PackedLog(log, np.ones(len(log), np.bool_)), None, config)
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


@given(logs, configs, st.integers(0, 1000))
def test_only_targets_are_predicted(log, config, seed) -> None:
    allowed = np.random.default_rng(seed).random(len(log)) < 0.4
    queries = QueryExamples(
        [""] * len(log), np.zeros((len(log), 2), np.float32), np.arange(len(log), dtype=np.int32)
    )
    maker = BatchMaker(PackedLog(log, allowed), queries, config)
    for batch in maker.epoch(4, np.random.default_rng(seed)):
        logged = batch.task != SEARCH
        shown = batch.target[logged & (batch.target != NONE)]
        assert allowed[shown].all()


@given(logs, st.integers(0, 1000))
def test_a_similar_request_leads_to_one_of_the_next_three_events(log, seed) -> None:
    packed = PackedLog(log, np.ones(len(log), np.bool_))
    place = np.empty(len(log), np.int64)
    place[packed.items] = np.arange(len(log))
    maker = BatchMaker(packed, None, RetrieverConfig(max_len=8))
    for batch in maker.epoch(4, np.random.default_rng(seed)):
        chosen = (batch.task == SIMILAR) & (batch.target != NONE)
        source, target = batch.source[chosen], batch.target[chosen]
        assert (log.users[source] == log.users[target]).all()
        assert np.isin(place[target] - place[source], [1, 2, 3]).all()


@given(logs, st.integers(0, 1000))
def test_a_search_request_pairs_a_query_with_its_item(log, seed) -> None:
    items = np.random.default_rng(seed).integers(0, len(log), 5).astype(np.int32)
    queries = QueryExamples([""] * 5, np.zeros((5, 2), np.float32), items)
    maker = BatchMaker(PackedLog(log, np.ones(len(log), np.bool_)), queries, RetrieverConfig())
    batch = next(maker.epoch(4, np.random.default_rng(seed)))
    chosen = (batch.task == SEARCH) & (batch.target != NONE)
    assert chosen.any()
    assert (items[batch.query[chosen]] == batch.target[chosen]).all()


def test_gap_buckets_grow_with_the_gap() -> None:
    seconds = np.array([np.nan, 0.0, 5.0, 30.0, 1e9])
    assert gap_buckets(seconds).tolist() == [0, 1, 2, 3, 9]
