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
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.data.events.repeats import times_chosen
from serendip.data.items.semantic_ids import common_prefix
from serendip.data.query import Query
from serendip.data.rows.row_array import dot_items
from serendip.engine.feature_names import models_of_kind, relative_name
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.context_features import context_columns

_CODE_HISTORY = 20
"""Newest items of the history whose semantic IDs are compared."""


def feature_matrix(batch: Batch, candidates: Candidates) -> FloatArray:
    """Features (R, F) float32 of candidate rows; columns in the order of ``feature_names``."""
    items, names = candidates.items, batch.state.feature_names
    columns = dict(_model_columns(batch, candidates))
    columns["last item cosine"], columns["query cosine"] = _cosines(batch, candidates)
    columns["bm25"], columns["title match"] = _word_columns(batch, candidates)
    columns["log popularity"] = np.log1p(batch.state.counts[items])
    recent = batch.scores("popularity-recent")
    columns["log recent popularity"] = recent.of_items(candidates.rows, items)
    columns["quality"] = batch.state.quality[items]
    columns["best code match"], columns["mean code match"] = _code_columns(batch, candidates)
    lengths = np.array([len(past) for past in batch.pasts], dtype=np.float32)  # (B,)
    columns["log history length"] = np.log1p(lengths)[candidates.rows]
    liked_shares = [past.liked.mean() if len(past) else np.nan for past in batch.pasts]
    columns["liked share"] = np.array(liked_shares, dtype=np.float32)[candidates.rows]
    columns.update(context_columns(batch, candidates))
    if batch.state.repeats.is_on:
        columns["log times chosen"] = _log_times_chosen(batch, candidates)
    matrix = np.empty((len(candidates), len(names)), np.float32)
    for column, name in enumerate(names):
        matrix[:, column] = columns[name]
    return matrix


def _model_columns(
    batch: Batch, candidates: Candidates
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Name and values (R,) of the score and the relative score of each model with features."""
    rows, items, models = candidates.rows, candidates.items, batch.state.models
    for name in (*models_of_kind(models, "count"), *models_of_kind(models, "similarity")):
        scores, best = batch.scores(name).of_items(rows, items), batch.scores(name).best()[rows]
        if models[name].score_kind == "count":
            yield name, np.log1p(scores)
            yield relative_name(name), scores / np.maximum(best, 1e-9)
        else:
            yield name, scores
            yield relative_name(name), scores - best


def _anchor(query: Query) -> int:
    """Number of the last source item, else of the newest item of the history; -1 = neither."""
    anchors = query.source_items if len(query.source_items) else query.history.item_nums
    return int(anchors[-1]) if len(anchors) else -1


def _cosines(batch: Batch, candidates: Candidates) -> tuple[FloatArray, FloatArray]:
    """(R,) cosines of each row's item with the anchor, and with the text, of its query.

    NaN = the query has no anchor, or no text.
    """
    content = batch.state.features.content  # (N, D)
    last = np.full(len(candidates), np.nan, dtype=np.float32)
    text = np.full(len(candidates), np.nan, dtype=np.float32)
    bounds = candidates.bounds(len(batch.queries))
    for query, (begin, end) in zip(batch.queries, pairwise(bounds), strict=True):
        anchor = _anchor(query)
        items = candidates.items[begin:end]  # (C,)
        if anchor >= 0:
            last[begin:end] = dot_items(content, items, content[anchor])
        if query.text_vector is not None:
            fusion = batch.state.fusion
            text[begin:end] = fusion.compare_text(content, items, query.text_vector)
    return last, text


def _word_columns(batch: Batch, candidates: Candidates) -> tuple[FloatArray, FloatArray]:
    """(R,) BM25 and (R,) title match of each row; 0 = not a hit of the search, NaN = no text."""
    bm25 = np.full(len(candidates), np.nan, dtype=np.float32)
    match = np.full(len(candidates), np.nan, dtype=np.float32)
    if batch.hits is None:
        return bm25, match
    bounds = candidates.bounds(len(batch.queries))
    for row, hits in enumerate(batch.hits):
        part = slice(bounds[row], bounds[row + 1])
        if not batch.queries[row].text.strip():
            continue
        bm25[part], match[part] = 0.0, 0.0
        items = candidates.items[part]  # (C,) ascending
        positions = np.searchsorted(items, hits.item_nums)  # (H,) of the hits in ``items``
        inside = positions < len(items)
        inside[inside] = items[positions[inside]] == hits.item_nums[inside]
        bm25[part][positions[inside]] = hits.fields["bm25"][inside]
        match[part][positions[inside]] = hits.fields["title_match"][inside]
    return bm25, match


def _code_columns(batch: Batch, candidates: Candidates) -> tuple[FloatArray, FloatArray]:
    """(R,) longest and (R,) mean code prefix shared with the source or newest items.

    Lengths are numbers of levels; NaN = the query has neither source items nor a history.
    """
    codes = batch.state.features.codes  # (N, L)
    best = np.full(len(candidates), np.nan, dtype=np.float32)
    mean = np.full(len(candidates), np.nan, dtype=np.float32)
    bounds = candidates.bounds(len(batch.queries))
    for query, (begin, end) in zip(batch.queries, pairwise(bounds), strict=True):
        anchors = query.source_items if len(query.source_items) else query.history.item_nums
        anchors = anchors[-_CODE_HISTORY:]
        if not len(anchors):
            continue
        own, recent = codes[candidates.items[begin:end]], codes[anchors]  # (C, L), (H, L)
        shared = common_prefix(own[:, None], recent[None])  # (C, H)
        best[begin:end] = shared.max(1)
        mean[begin:end] = shared.sum(1) / len(anchors)
    return best, mean


def _log_times_chosen(batch: Batch, candidates: Candidates) -> FloatArray:
    """(R,) log of 1 + the user's earlier choices of each row's item."""
    counts = np.zeros(len(candidates), np.float32)
    bounds = candidates.bounds(len(batch.queries))
    for past, (begin, end) in zip(batch.pasts, pairwise(bounds), strict=True):
        if len(past):
            counts[begin:end] = times_chosen(past, candidates.items[begin:end])
    return np.log1p(counts)
