"""Answers a batch of queries: filters -> sources -> scores (features, scorers) -> selection.

Candidate generation, ranking and re-ranking. A source is left out and named in
``degraded`` if it fails (a ``SerendipError``, ``RuntimeError``, ``KeyError`` or ``OSError``), or if
it has not begun when half of the time for the answer is over and others have proposed items: the
rest of the time is for features and scorers. So is a list filter or a scorer whose model is
missing. Any other error fails the run, and ``fallback`` answers. Filters,
sources, list filters and list rules leave a count in the trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from serendip.data import AllowedItems, FloatArray, IntArray, ItemList, ItemSet, distinct, tie_order
from serendip.data.query import Query
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.features import feature_matrix
from serendip.engine.stages.filters import Filter
from serendip.engine.stages.likeness import is_by_likeness, keep_alike
from serendip.engine.stages.rules import are_meant
from serendip.engine.stages.scoring import fuse_by_rank, score_candidates
from serendip.engine.stages.selection import Result, Selector, SurfaceStages
from serendip.engine.stages.sources import Source
from serendip.engine.stages.surfaces import SurfaceConfig, visible_to
from serendip.engine.state import EngineState
from serendip.errors import SerendipError
from serendip.runtime.budget import share_of_time

CATALOGUE, CANDIDATES = "catalogue", "candidates"  # counts of the run itself in a trace
SOURCES_SHARE = 0.5  # of the time for an answer in which sources begin
TRACE_LABELS = {CATALOGUE: "In the catalogue", CANDIDATES: "Candidates, each once"}


def answer_queries(
    queries: Sequence[Query],
    surface: SurfaceConfig,
    state: EngineState,
    max_items: int | None = None,
    also: Sequence[IntArray] = (),
    hits: Sequence[ItemList] = (),
) -> list[Result]:
    """Answer queries of one surface; row b depends on query b only.

    Lists end at ``max_items``, None = all items. Further candidates of a query (``also``), which
    may be shown, and hits of the word search have a list per query; empty = none for any.
    """
    if not queries:
        return []
    selector, traces = score(queries, surface, state, also, hits)
    return selector.results(traces, max_items)


def score(
    queries: Sequence[Query],
    surface: SurfaceConfig,
    state: EngineState,
    also: Sequence[IntArray] = (),
    hits: Sequence[ItemList] = (),
) -> tuple[Selector, list[dict[str, int]]]:
    """Everything up to the selection: scored candidates, and the traces so far.

    Further candidates (``also``) and hits of the word search are as of ``answer_queries``.
    """
    stages = SurfaceStages.of(surface)
    batch, traces = _propose(queries, stages, surface, state)
    batch.add_hits(hits)
    candidates = _merge(batch, also)
    if is_by_likeness(surface, state):
        candidates = keep_alike(batch, candidates, also)
    bounds = pairwise(candidates.bounds(len(queries)))
    for query, trace, (begin, end) in zip(queries, traces, bounds, strict=True):
        trace[CANDIDATES], items = end - begin, candidates.items[begin:end]
        for rule in query.rules:
            trace[f"rule {rule.rule_id}"] = int(are_meant(rule, items, state).sum())
    features = feature_matrix(batch, candidates)
    scores = score_candidates(batch, candidates, features)
    return Selector(stages, batch, candidates, features, scores), traces


def run_sources(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState
) -> list[ItemList]:
    """Sources of a surface merged by rank fusion: no features, no scorers, no list filters.

    Returns:
        a list per query.
    """
    num_queries = len(queries)
    batch, _ = _propose(queries, SurfaceStages.of(surface), surface, state)
    candidates = _merge(batch)
    values = fuse_by_rank(candidates, batch.organic_proposals, num_queries)  # (R,)
    order = np.lexsort((tie_order(state.num_items)[candidates.items], -values, candidates.rows))
    parts = [order[begin:end] for begin, end in pairwise(candidates.bounds(num_queries))]
    return [ItemList.of_distinct(candidates.items[part], values[part]) for part in parts]


def features_of(query: Query, item: int, surface: SurfaceConfig, state: EngineState) -> FloatArray:
    """Features (F,) of any one item for a query, whether or not a source proposes it."""
    allowed = [AllowedItems(_all_items(state))]
    batch = Batch.of([visible_to(surface, query)], surface, state, allowed)
    row = Candidates(np.zeros(1, np.int32), np.array([item], np.int32))
    features: FloatArray = feature_matrix(batch, row)[0]
    return features


def _all_items(state: EngineState) -> ItemSet:
    return state.derived.item_set(CATALOGUE, lambda: np.ones(state.num_items, np.bool_))


def _propose(
    queries: Sequence[Query], stages: SurfaceStages, surface: SurfaceConfig, state: EngineState
) -> tuple[Batch, list[dict[str, int]]]:
    visible = [visible_to(surface, query) for query in queries]
    allowed, traces = [], []
    for whole, seen in zip(queries, visible, strict=True):
        left, trace = AllowedItems(_all_items(state)), {CATALOGUE: state.num_items}
        for stage, left in restrict(whole, seen, stages, state):
            trace[stage.trace_key] = left.count
        allowed.append(left)
        traces.append(trace)
    batch = Batch.of(visible, surface, state, allowed)
    _retrieve(batch, stages.sources, traces)
    return batch, traces


def restrict(
    whole: Query, seen: Query, stages: SurfaceStages, state: EngineState
) -> Iterator[tuple[Filter, AllowedItems]]:
    """Each filter in order, with the items that are left after it.

    Filters of requests read the ``whole`` request, the others what the surface has ``seen`` of it.
    """
    left = AllowedItems(_all_items(state))
    for filters, query in ((stages.request_filters, whole), (stages.filters, seen)):
        for stage in filters:
            left = stage.restrict(left, query, state)
            yield stage, left


def find_allowed(query: Query, surface: SurfaceConfig, state: EngineState) -> AllowedItems:
    """The items that pass the filters of a request and of its surface."""
    *_, (_, allowed) = restrict(query, visible_to(surface, query), SurfaceStages.of(surface), state)
    return allowed


def _retrieve(batch: Batch, sources: Sequence[Source], traces: list[dict[str, int]]) -> None:
    proposals = batch.proposals
    for source in sources:
        if share_of_time() > SOURCES_SHARE and any(map(any, proposals.values())):
            batch.degraded.append(source.name)
            continue
        try:
            quota = batch.surface.sources[source.name]
            proposals[source.name] = source.retrieve(batch, quota)
        except (SerendipError, RuntimeError, KeyError, OSError):
            batch.degraded.append(source.name)
            continue
        for trace, items in zip(traces, proposals[source.name], strict=True):
            trace[source.trace_key] = len(items)


def _merge(batch: Batch, also: Sequence[IntArray] = ()) -> Candidates:
    parts, num_queries = [], len(batch.queries)
    for row in range(num_queries):
        lists = [items[row].item_nums for items in batch.proposals.values()]
        lists += [batch.pinned(row), *([also[row]] if also else [])]
        parts.append(distinct(np.concatenate(lists)))
    rows = np.repeat(np.arange(num_queries, dtype=np.int32), [len(part) for part in parts])
    return Candidates(rows, np.concatenate(parts).astype(np.int32))
