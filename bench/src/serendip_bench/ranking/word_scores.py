"""Untrained search over a whole catalogue: the baselines of the search task.

Shapes: B requests, N items, C content dimensions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from serendip.data import Catalogue, FloatArray, ItemList, Query
from serendip.search.lexical import LexicalIndex
from serendip.search.searcher import reciprocal_rank_fusion

WordScorer = Literal["bm25", "vectors", "rrf"]
WORD_SCORERS: tuple[WordScorer, ...] = get_args(WordScorer)

_NUM_FUSED = 300
"""Number of lexical and vector results that are fused."""


class WordScores:
    """Non-personalised search by BM25, by vectors, or by reciprocal rank fusion of both.

    Args:
        content: (N, C) unit vectors.
    """

    def __init__(self, kind: WordScorer, catalogue: Catalogue, content: FloatArray) -> None:
        self._kind, self._content, self._size = kind, content, len(catalogue)
        self._scores_of: dict[str, FloatArray] = {}
        with tempfile.TemporaryDirectory() as folder:  # An open index outlives its folder.
            self._lexical = LexicalIndex.build(catalogue, Path(folder) / "words")

    def score_all(self, queries: Sequence[Query]) -> FloatArray:
        """(B, N) scores; requests with the same text have the same scores."""
        for query in queries:
            if query.text not in self._scores_of:
                self._scores_of[query.text] = self._scores(query)
        return np.stack([self._scores_of[query.text] for query in queries])

    def _scores(self, query: Query) -> FloatArray:
        assert query.text_vector is not None
        if self._kind == "vectors":
            return np.asarray(self._content @ query.text_vector, np.float32)
        if self._kind == "bm25":
            return self._dense(self._lexical.search(query.text, self._size))
        cosines = self._content @ query.text_vector  # (N,)
        nearest = np.argsort(-cosines, kind="stable")[:_NUM_FUSED].astype(np.int32)
        lists = [
            self._lexical.search(query.text, _NUM_FUSED),
            ItemList(nearest, cosines[nearest].astype(np.float32)),
        ]
        return self._dense(reciprocal_rank_fusion(lists, self._size))

    def _dense(self, results: ItemList) -> FloatArray:
        scores = np.zeros(self._size, np.float32)
        scores[results.item_nums] = results.scores
        return scores
