"""Ranker features of (query, item) rows; the same code makes training rows and serves requests.

A feature never looks at the other candidates of its query, so scores do not depend on the batch.
"Relative" features compare with the best item of the *whole catalogue*, which keeps that true.
NaN means "does not apply here".
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
"""Code matches look at this many recent items."""


def feature_matrix(batch: Batch, candidates: Candidates) -> FloatArray:
    """Features (R, F) float32 of candidate rows, columns in the order of ``feature_names``."""
    rows, items = candidates.rows, candidates.items
    columns = _model_columns(batch, candidates)
    content = batch.state.features.content
    anchors = [_anchor(query) for query in batch.queries]
    last = [None if anchor < 0 else content[anchor] for anchor in anchors]
    columns["last item cosine"] = _cosines(last, candidates, lambda items: content[items])
    texts = [query.text_vector for query in batch.queries]
    words_of = batch.state.fusion.extract_text_part
    columns["query cosine"] = _cosines(texts, candidates, lambda items: words_of(content[items]))
    columns["bm25"], columns["title match"] = _word_columns(batch, candidates)
    columns["log popularity"] = np.log1p(batch.state.counts)[items]
    columns["log recent popularity"] = batch.scores("popularity-recent")[rows, items]
    columns["quality"] = batch.state.quality[items]
    columns["best code match"], columns["mean code match"] = _code_columns(batch, candidates)
    lengths = np.array([len(past) for past in batch.pasts], dtype=np.float32)
    columns["log history length"] = np.log1p(lengths)[rows]
    liked = [past.liked.mean() if len(past) else np.nan for past in batch.pasts]
    columns["liked share"] = np.array(liked, dtype=np.float32)[rows]
    names = feature_names(batch.state.models)
    return np.column_stack([columns[name] for name in names]).astype(np.float32)


def _model_columns(batch: Batch, candidates: Candidates) -> dict[str, NDArray[np.floating]]:
    """Two features of each model that scores candidates by their query."""
    rows, items, models = candidates.rows, candidates.items, batch.state.models
    columns: dict[str, NDArray[np.floating]] = {}
    for name in models_of_kind(models, "count"):
        scores = batch.scores(name)
        best = np.maximum(scores.max(1), 1e-9)
        columns[name] = np.log1p(scores[rows, items])
        columns[relative_name(name)] = scores[rows, items] / best[rows]
    for name in models_of_kind(models, "similarity"):
        scores = batch.scores(name)
        columns[name] = scores[rows, items]
        columns[relative_name(name)] = scores[rows, items] - scores.max(1)[rows]
    return columns


def _anchor(query: Query) -> int:
    """The source item, else the last of the history; -1 without either."""
    anchors = query.source_items if len(query.source_items) else query.history.item_nums
    return int(anchors[-1]) if len(anchors) else -1


def _cosines(
    vectors: Sequence[FloatArray | None],
    candidates: Candidates,
    vectors_of: Callable[[IntArray], FloatArray],
) -> FloatArray:
    """Cosine of each row's item with its query's vector; NaN where the query has none."""
    result = np.full(len(candidates), np.nan, dtype=np.float32)
    for vector, (begin, end) in zip(
        vectors, pairwise(candidates.bounds(len(vectors))), strict=True
    ):
        if vector is not None:
            result[begin:end] = vectors_of(candidates.items[begin:end]) @ vector
    return result


def _word_columns(batch: Batch, candidates: Candidates) -> tuple[FloatArray, FloatArray]:
    """BM25 and title match of each row; 0 where the words did not find it, NaN without text."""
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
        items = candidates.items[part]
        places = np.searchsorted(items, hits.item_nums)
        inside = places < len(items)
        inside[inside] = items[places[inside]] == hits.item_nums[inside]
        bm25[part][places[inside]] = hits.fields["bm25"][inside]
        match[part][places[inside]] = hits.fields["title_match"][inside]
    return bm25, match


def _code_columns(batch: Batch, candidates: Candidates) -> tuple[FloatArray, FloatArray]:
    """Longest and mean common code prefix with the recent items; NaN without any."""
    codes = batch.state.features.codes
    recent = np.full((len(batch.queries), _CODE_HISTORY), -1, dtype=np.int32)
    for row, query in enumerate(batch.queries):
        anchors = query.source_items if len(query.source_items) else query.history.item_nums
        anchors = anchors[-_CODE_HISTORY:]
        recent[row, : len(anchors)] = anchors
    known = recent >= 0
    prefix: IntArray = common_prefix(
        codes[candidates.items][:, None, :], codes[recent][candidates.rows]
    )
    valid = known[candidates.rows]
    best = np.where(valid, prefix, -1).max(1).astype(np.float32)
    count = valid.sum(1)
    mean = np.where(valid, prefix, 0).sum(1) / np.maximum(count, 1)
    best[count == 0] = np.nan
    return best, np.where(count == 0, np.nan, mean).astype(np.float32)
