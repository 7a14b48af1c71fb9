"""One run: filters -> sources -> features -> ranker -> selection, for a batch of queries.

A stage that fails is left out, named in ``degraded``, and the others answer; the ranker's
fallback is reciprocal rank over the sources. Every stage leaves a count in the trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.item_list import ItemList
from serendip.data.query import Query
from serendip.data.top_k import tie_order
from serendip.engine.batch import Batch, Candidates
from serendip.engine.feature_names import FEATURES
from serendip.engine.features import feature_matrix
from serendip.engine.filters import filters_of
from serendip.engine.sources import source_named
from serendip.engine.state import EngineState
from serendip.engine.surfaces import TASKS, SurfaceConfig
from serendip.errors import SerendipError
from serendip.models.ranker import action_value
from serendip.search.understanding import CORRECTED

_PIN = 1_000.0
"""Value of exact titles; far above any sum of weighted probabilities."""


_RARE = 20.0
"""Interactions below which being rare is no merit: the discount of popularity starts here."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found for one query.

    Args:
        query: as the models saw it: of a long history, the part that bears on the request.
        items: all candidates, best first, with a column per feature and ``found by`` bits.
        trace: stage -> number of items after it.
        degraded: stages that failed.
    """

    query: Query
    items: ItemList
    trace: Mapping[str, int]
    degraded: tuple[str, ...]


def run(queries: Sequence[Query], surface: SurfaceConfig, state: EngineState) -> list[Result]:
    """Answer queries of one surface; row b depends on query b only."""
    if not queries:
        return []
    batch, traces = _filtered(queries, surface, state)
    found = _retrieved(batch, traces)
    candidates = _merged(found, len(queries))
    for trace, begin, end in zip(traces, *_pairs(candidates.bounds(len(queries))), strict=True):
        trace["candidates"] = end - begin
    features = feature_matrix(batch, candidates)
    values = _values(batch, candidates, features, found)
    return _selected(batch, candidates, features, values, traces)


def collect(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState
) -> tuple[Candidates, FloatArray]:
    """Candidates and their features without ranking: what the ranker is trained on."""
    batch, traces = _filtered(queries, surface, state)
    candidates = _merged(_retrieved(batch, traces), len(queries))
    return candidates, feature_matrix(batch, candidates)


def _filtered(
    queries: Sequence[Query], surface: SurfaceConfig, state: EngineState
) -> tuple[Batch, list[dict[str, int]]]:
    allowed = np.ones((len(queries), state.num_items), dtype=np.bool_)
    traces: list[dict[str, int]] = [{"catalogue": state.num_items} for _ in queries]
    for stage in filters_of(surface):
        for row, query in enumerate(queries):
            allowed[row] &= stage.keep(query, state)
            traces[row][f"after {stage.name}"] = int(allowed[row].sum())
    return Batch.of(queries, surface, state, allowed), traces


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


def _merged(found: Mapping[str, list[ItemList]], num_queries: int) -> Candidates:
    parts = []
    for row in range(num_queries):
        lists = [items[row].item_nums for items in found.values()]
        parts.append(np.unique(np.concatenate(lists)) if lists else np.empty(0, np.int32))
    rows = np.repeat(np.arange(num_queries, dtype=np.int32), [len(part) for part in parts])
    return Candidates(rows, np.concatenate(parts).astype(np.int32))


def _values(
    batch: Batch,
    candidates: Candidates,
    features: FloatArray,
    found: Mapping[str, list[ItemList]],
) -> FloatArray:
    """Value of each candidate row: the ranker's, else reciprocal rank over the sources."""
    ranker = batch.state.ranker
    if ranker is None or not len(candidates):
        values = _reciprocal_ranks(candidates, found, len(batch.queries))
    else:
        values = _ranked(batch, candidates, features)
    if batch.surface.pin_exact_titles and batch.hits is not None:
        _pin_titles(values, batch.hits, candidates)
    return values


def _ranked(batch: Batch, candidates: Candidates, features: FloatArray) -> FloatArray:
    ranker = batch.state.ranker
    assert ranker is not None
    tasks = np.full(len(features), TASKS.index(batch.surface.task), dtype=np.int64)
    probabilities = ranker.predict(features, tasks)
    values = action_value(probabilities, batch.surface.action_weights, ranker.config.actions)
    popularity = _RARE + batch.state.counts[candidates.items].astype(np.float32)
    return values / popularity**batch.surface.popularity_discount


def _pin_titles(values: FloatArray, hits: Sequence[ItemList], candidates: Candidates) -> None:
    """Put what bears the typed title (or the one that was meant) first, in the search's order."""
    bounds = candidates.bounds(len(hits))
    for row, found in enumerate(hits):
        if not len(found):
            continue
        pinned = found.item_nums[found.fields["title_match"] >= CORRECTED]
        places = bounds[row] + np.searchsorted(
            candidates.items[bounds[row] : bounds[row + 1]], pinned
        )
        values[places] = _PIN + np.arange(len(pinned), 0, -1)


def _reciprocal_ranks(
    candidates: Candidates, found: Mapping[str, list[ItemList]], num_queries: int
) -> FloatArray:
    values = np.zeros(len(candidates), dtype=np.float32)
    bounds = candidates.bounds(num_queries)
    for lists in found.values():
        for row, items in enumerate(lists):
            part = candidates.items[bounds[row] : bounds[row + 1]]
            places = bounds[row] + np.searchsorted(part, items.item_nums)
            values[places] += 1.0 / (60.0 + np.arange(len(items)))
    return values


def _selected(
    batch: Batch,
    candidates: Candidates,
    features: FloatArray,
    values: FloatArray,
    traces: Sequence[Mapping[str, int]],
) -> list[Result]:
    results = []
    ties = tie_order(batch.state.num_items)
    for row, (begin, end) in enumerate(
        zip(*_pairs(candidates.bounds(len(batch.queries))), strict=True)
    ):
        items = candidates.items[begin:end]
        order = np.lexsort((ties[items], -values[begin:end]))
        part = features[begin:end][order]
        columns = {name: part[:, column] for column, name in enumerate(FEATURES)}
        ranked = ItemList(items[order], values[begin:end][order], columns)
        results.append(Result(batch.queries[row], ranked, traces[row], tuple(batch.degraded)))
    return results


def _pairs(bounds: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    return bounds[:-1], bounds[1:]
