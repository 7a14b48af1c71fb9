"""Ranker features of (query, item) rows, computed by the same code in training and in serving.

A feature never depends on the other candidates of its query, so scores do not depend on the batch.
"Relative" features compare with the best item of the whole catalogue, for the same reason; models
that search an index give the best item that it finds.
NaN means that a feature does not apply to a row.

Shapes: B queries, R candidate rows, C of one query, F features, D embedding size, L levels of
semantic IDs, H newest items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.query import Query
from serendip.data.semantic_ids import common_prefix
from serendip.engine.feature_names import feature_names, models_of_kind, relative_name
from serendip.engine.stages.batch import Batch, Candidates

_CODE_HISTORY = 20
"""Newest items of the history whose semantic IDs are compared."""


def feature_matrix(batch: Batch, candidates: Candidates) -> FloatArray:
    """Features (R, F) float32 of candidate rows; columns in the order of ``feature_names``."""
    rows, items = candidates.rows, candidates.items
    columns = _model_columns(batch, candidates)
    content = batch.state.features.content  # (N, D)
    anchors = [_anchor(query) for query in batch.queries]
    last = [None if anchor < 0 else content[anchor] for anchor in anchors]
    columns["last item cosine"] = _cosines(last, candidates, lambda items: content[items])
    texts = [query.text_vector for query in batch.queries]
    words_of = batch.state.fusion.extract_text_part
    columns["query cosine"] = _cosines(texts, candidates, lambda items: words_of(content[items]))
    columns["bm25"], columns["title match"] = _word_columns(batch, candidates)
    columns["log popularity"] = np.log1p(batch.state.counts[items])
    columns["log recent popularity"] = batch.scores("popularity-recent").of_items(rows, items)
    columns["quality"] = batch.state.quality[items]
    columns["best code match"], columns["mean code match"] = _code_columns(batch, candidates)
    lengths = np.array([len(past) for past in batch.pasts], dtype=np.float32)  # (B,)
    columns["log history length"] = np.log1p(lengths)[rows]
    liked_shares = [past.liked.mean() if len(past) else np.nan for past in batch.pasts]
    columns["liked share"] = np.array(liked_shares, dtype=np.float32)[rows]
    names = feature_names(batch.state.models)
    return np.column_stack([columns[name] for name in names]).astype(np.float32)


def _model_columns(batch: Batch, candidates: Candidates) -> dict[str, NDArray[np.floating]]:
    """Score and relative score (R,) of each model whose scores are features."""
    rows, items, models = candidates.rows, candidates.items, batch.state.models
    columns: dict[str, NDArray[np.floating]] = {}
    for name in (*models_of_kind(models, "count"), *models_of_kind(models, "similarity")):
        scores, best = batch.scores(name).of_items(rows, items), batch.scores(name).best()[rows]
        if models[name].score_kind == "count":
            columns[name] = np.log1p(scores)
            columns[relative_name(name)] = scores / np.maximum(best, 1e-9)
        else:
            columns[name] = scores
            columns[relative_name(name)] = scores - best
    return columns


def _anchor(query: Query) -> int:
    """Number of the last source item, else of the newest item of the history; -1 = neither."""
    anchors = query.source_items if len(query.source_items) else query.history.item_nums
    return int(anchors[-1]) if len(anchors) else -1


def _cosines(
    vectors: Sequence[FloatArray | None],
    candidates: Candidates,
    vectors_of: Callable[[IntArray], FloatArray],
) -> FloatArray:
    """(R,) cosine of each row's item with the vector of its query; NaN without such a vector.

    Args:
        vectors: per query a unit vector (D,), or None.
        candidates: R rows.
        vectors_of: item numbers -> unit vectors of the items.
    """
    result = np.full(len(candidates), np.nan, dtype=np.float32)
    for vector, (begin, end) in zip(
        vectors, pairwise(candidates.bounds(len(vectors))), strict=True
    ):
        if vector is not None:
            result[begin:end] = vectors_of(candidates.items[begin:end]) @ vector  # (C, D) @ (D,)
    return result


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
    recent = np.full((len(batch.queries), _CODE_HISTORY), -1, dtype=np.int32)
    for row, query in enumerate(batch.queries):
        anchors = query.source_items if len(query.source_items) else query.history.item_nums
        anchors = anchors[-_CODE_HISTORY:]
        recent[row, : len(anchors)] = anchors
    is_item = recent >= 0  # (B, H)
    prefix: IntArray = common_prefix(
        codes[candidates.items][:, None, :],  # (R, 1, L)
        codes[recent][candidates.rows],  # (R, H, L)
    )  # (R, H)
    valid = is_item[candidates.rows]  # (R, H)
    best = np.where(valid, prefix, -1).max(1).astype(np.float32)  # (R,)
    count = valid.sum(1)
    mean = np.where(valid, prefix, 0).sum(1) / np.maximum(count, 1)  # (R,)
    best[count == 0] = np.nan
    return best, np.where(count == 0, np.nan, mean).astype(np.float32)
