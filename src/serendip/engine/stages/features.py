"""Ranker features of (query, item) rows, computed by the same code in training and in serving.

A feature never depends on the other candidates of its query, so scores do not depend on the batch.
"Relative" features compare with the best item of the whole catalogue, for the same reason; models
that search an index give the best item that it finds.
NaN means that a feature does not apply to a row.

Shapes: B queries, R candidate rows, C of one query, F features, D embedding size, L levels of
semantic IDs, H newest items.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data import FloatArray, IntArray, ItemList, Query, locate
from serendip.data.events.repeats import times_chosen
from serendip.data.items.semantic_ids import common_prefix
from serendip.data.rows.row_array import dot_items
from serendip.engine.feature_names import models_of_kind, relative_name
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.context_features import context_columns
from serendip.engine.state import EngineState
from serendip.models.popularity import RECENT

CODE_HISTORY = 20  # newest items whose semantic IDs are compared


def feature_matrix(batch: Batch, candidates: Candidates) -> FloatArray:
    """Features (R, F) float32 of candidate rows; columns in the order of ``feature_names``."""
    names, items = batch.state.feature_names, candidates.items
    matrix = np.full((len(items), len(names)), np.nan, np.float32)
    columns = {name: matrix[:, column] for column, name in enumerate(names)}
    for name, values in _model_columns(batch, candidates):
        columns[name][:] = values
    columns["log popularity"][:] = np.log1p(batch.state.counts[items])
    recent = batch.scores(RECENT)
    columns["log recent popularity"][:] = recent.of_items(candidates.rows, items)
    columns["quality"][:] = batch.state.quality[items]
    for row, part in candidates.parts(len(batch.queries)):
        for name, values in _query_columns(batch, row, items[part]):
            columns[name][part] = values
    return matrix


# (C,) each, or one number; the others are NaN.
Columns: TypeAlias = Iterator[tuple[str, NDArray[np.floating] | np.floating | float]]


def _query_columns(batch: Batch, row: int, items: IntArray) -> Columns:
    state, query, past = batch.state, batch.queries[row], batch.pasts[row]
    yield from _cosines(state, query, items)
    if batch.hits is not None and query.text.strip():
        yield from _word_columns(batch.hits[row], items)
    yield from _code_columns(state, query, items)
    yield "log history length", np.log1p(np.float32(len(past)))
    if len(past):
        yield "liked share", past.liked.mean()
    yield from context_columns(state, query, past, items)
    if state.repeats.is_on:
        times = times_chosen(past, items) if len(past) else np.zeros(len(items))
        yield "log times chosen", np.log1p(times.astype(np.float32))


def _model_columns(batch: Batch, candidates: Candidates) -> Columns:
    rows, items, models = candidates.rows, candidates.items, batch.state.models
    for name in (*models_of_kind(models, "count"), *models_of_kind(models, "similarity")):
        scores, best = batch.scores(name).of_items(rows, items), batch.scores(name).best()[rows]
        if models[name].score_kind == "count":
            yield name, np.log1p(scores)
            yield relative_name(name), scores / np.maximum(best, 1e-9)
        else:
            yield name, scores
            yield relative_name(name), scores - best


def _cosines(state: EngineState, query: Query, items: IntArray) -> Columns:
    content, anchors = state.features.content, _find_anchors(query)
    if len(anchors):
        yield "last item cosine", dot_items(content, items, content[int(anchors[-1])])
    if query.text_vector is not None:
        yield "query cosine", state.fusion.compare_text(content, items, query.text_vector)


def _find_anchors(query: Query) -> IntArray:
    return query.source_items if len(query.source_items) else query.history.item_nums


def _word_columns(hits: ItemList, items: IntArray) -> Columns:
    places, is_there = locate(items, hits.item_nums)
    for name, field in (("bm25", "bm25"), ("title match", "title_match")):
        values = np.zeros(len(items), np.float32)  # 0 = not a hit
        if len(hits):
            values[places[is_there]] = hits.fields[field][is_there]
        yield name, values


def _code_columns(state: EngineState, query: Query, items: IntArray) -> Columns:
    anchors = _find_anchors(query)[-CODE_HISTORY:]
    if len(anchors):
        own, recent = state.features.codes[items], state.features.codes[anchors]  # (C, L), (H, L)
        shared = common_prefix(own[:, None], recent[None])  # (C, H)
        yield "best code match", shared.max(1)
        yield "mean code match", shared.sum(1) / len(anchors)
