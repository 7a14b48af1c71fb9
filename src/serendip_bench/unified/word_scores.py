"""Untrained search over a whole catalogue: the baselines of the search task."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.item import Catalogue
from serendip.data.item_list import ItemList
from serendip.data.query import Query
from serendip.search.lexical import LexicalIndex
from serendip.search.rank_fusion import reciprocal_rank_fusion

WordScorer = Literal["bm25", "vectors", "rrf"]

_FUSED = 300
"""Hits of words and of vectors that are fused."""


class WordScores:
    """Untrained search: words, meaning, or both by rank. The user is not read.

    Args:
        kind: words, vectors, or both by rank.
        catalogue: N items.
        content: (N, C) unit vectors.
    """

    def __init__(self, kind: WordScorer, catalogue: Catalogue, content: FloatArray) -> None:
        self._kind, self._content, self._size = kind, content, len(catalogue)
        self._known: dict[str, FloatArray] = {}
        with tempfile.TemporaryDirectory() as folder:  # Open files stay when their names are gone.
            self._lexical = LexicalIndex.build(catalogue, Path(folder) / "words")

    def score_all(self, queries: Sequence[Query]) -> FloatArray:
        """(B, N) scores; the same for all requests with the same words."""
        for query in queries:
            if query.text not in self._known:
                self._known[query.text] = self._scores(query)
        return np.stack([self._known[query.text] for query in queries])

    def _scores(self, query: Query) -> FloatArray:
        assert query.text_vector is not None
        if self._kind == "vectors":
            return np.asarray(self._content @ query.text_vector, np.float32)
        if self._kind == "bm25":
            return self._dense(self._lexical.search(query.text, self._size))
        cosines = self._content @ query.text_vector
        nearest = np.argsort(-cosines, kind="stable")[:_FUSED].astype(np.int32)
        lists = [
            self._lexical.search(query.text, _FUSED),
            ItemList(nearest, cosines[nearest].astype(np.float32)),
        ]
        return self._dense(reciprocal_rank_fusion(lists, self._size))

    def _dense(self, found: ItemList) -> FloatArray:
        scores = np.zeros(self._size, np.float32)
        scores[found.item_nums] = found.scores
        return scores
