"""One run: filters -> sources -> features -> ranker -> selection, for a batch of queries.

A stage that fails is left out, named in ``degraded``, and the others answer; the ranker's
fallback is reciprocal rank over the sources. Every stage leaves a count in the trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.item_list import ItemList
from serendip.data.query import Query
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.features import feature_matrix
from serendip.engine.stages.filters import ALWAYS, filters_of
from serendip.engine.stages.scoring import score_candidates
from serendip.engine.stages.selection import Result, Selector
from serendip.engine.stages.sources import source_named
from serendip.engine.stages.surfaces import SurfaceConfig, visible_to
from serendip.engine.state import EngineState
from serendip.errors import SerendipError


def run(queries: Sequence[Query], surface: SurfaceConfig, state: EngineState) -> list[Result]:
    """Answer queries of one surface; row b depends on query b only."""
    if not queries:
        return []
    batch, traces = _filtered(queries, surface, state)
    found = _retrieved(batch, traces)
    candidates = _merged(found, len(queries))
    for trace, (begin, end) in zip(traces, pairwise(candidates.bounds(len(queries))), strict=True):
        trace["candidates"] = end - begin
    features = feature_matrix(batch, candidates)
    values = score_candidates(batch, candidates, features, found)
    if surface.bad_matches is not None and state.judge is None:
        batch.degraded.append("bad matches")
    return Selector(batch, candidates, features, values, found).results(traces)


def collect(
    queries: Sequence[Query],
    surface: SurfaceConfig,
    state: EngineState,
    also: Sequence[IntArray] = (),
) -> tuple[Candidates, FloatArray]:
    """Candidates and their features without ranking: what the ranker is trained on.

    Args:
        queries: of one surface.
        surface: how it is answered.
        state: what the answers are made from.
        also: per query further candidates, whoever proposes them; empty = none for any.
    """
    batch, candidates = gather(queries, surface, state, also)
    return candidates, feature_matrix(batch, candidates)


def gather(
    queries: Sequence[Query],
    surface: SurfaceConfig,
    state: EngineState,
    also: Sequence[IntArray] = (),
) -> tuple[Batch, Candidates]:
    """Candidates of all sources, before anything is said of them; ``degraded`` names failures."""
    batch, traces = _filtered(queries, surface, state)
    return batch, _merged(_retrieved(batch, traces), len(queries), also)


def features_of(query: Query, item: int, surface: SurfaceConfig, state: EngineState) -> FloatArray:
    """Features (F,) of any one item for a query, whether or not a source proposes it."""
    allowed = np.ones((1, state.num_items), dtype=np.bool_)
    batch = Batch.of([visible_to(surface, query)], surface, state, allowed)
    row = Candidates(np.zeros(1, np.int32), np.array([item], np.int32))
    features: FloatArray = feature_matrix(batch, row)[0]
    return features


def _filtered(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState
) -> tuple[Batch, list[dict[str, int]]]:
    allowed = np.ones((len(queries), state.num_items), dtype=np.bool_)
    traces: list[dict[str, int]] = [{"catalogue": state.num_items} for _ in queries]
    read = [visible_to(surface, query) for query in queries]
    for stages, seen in ((ALWAYS, queries), (filters_of(surface), read)):
        for stage in stages:
            for row, query in enumerate(seen):
                allowed[row] &= stage.keep(query, state)
                traces[row][f"after {stage.name}"] = int(allowed[row].sum())
    return Batch.of(read, surface, state, allowed), traces


def _retrieved(batch: Batch, traces: list[dict[str, int]]) -> dict[str, list[ItemList]]:
    found = {}
    for name, quota in batch.surface.sources.items():
        try:
            found[name] = source_named(name).retrieve(batch, quota)
        except (SerendipError, RuntimeError, KeyError, OSError):
            batch.degraded.append(name)
            continue
        for trace, items in zip(traces, found[name], strict=True):
            trace[f"from {name}"] = len(items)
    return found


def _merged(
    found: Mapping[str, list[ItemList]], num_queries: int, also: Sequence[IntArray] = ()
) -> Candidates:
    parts = []
    for row in range(num_queries):
        lists = [items[row].item_nums for items in found.values()]
        lists += [also[row]] if also else []
        parts.append(np.unique(np.concatenate(lists)) if lists else np.empty(0, np.int32))
    rows = np.repeat(np.arange(num_queries, dtype=np.int32), [len(part) for part in parts])
    return Candidates(rows, np.concatenate(parts).astype(np.int32))
