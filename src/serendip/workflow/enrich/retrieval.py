"""How well items are found: by words, and by words and vectors, without anything learned.

Words are BM25 with the weights of the settings, vectors are cosines of the text encoder; both are
fused by rank, as search does. Everything is found among all items; what nobody judged counts 0.
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.item import Catalogue, Item
from serendip.data.item_list import ItemList, top_k
from serendip.evaluate.metrics.base import grade
from serendip.evaluate.metrics.ndcg import NDCG
from serendip.evaluate.runs import Values
from serendip.search.fusion import reciprocal_rank_fusion
from serendip.search.lexical import LexicalConfig, LexicalIndex
from serendip.workflow.enrich.asked import JudgedQueries

METRIC = NDCG(10)
_DEPTH = 300


@dataclass(frozen=True, slots=True, eq=False)
class Finder:
    """Search over a catalogue.

    Args:
        items: N.
        vectors: (N, C) unit vectors of their texts.
        config: fields and weights of the words.
    """

    items: Sequence[Item]
    vectors: FloatArray
    config: LexicalConfig

    def judged(self, queries: JudgedQueries, vectors: FloatArray) -> dict[str, Values]:
        """nDCG@10 (Q,) by ``words`` and by ``both``; ``vectors`` (Q, C) are those of the queries.

        Complexity: a word index is built, and each query is compared with all items.
        """
        with tempfile.TemporaryDirectory() as folder:
            index = LexicalIndex.build(Catalogue(self.items), Path(folder) / "words", self.config)
        rows = [
            self._row(index, text, vector, gains)
            for text, vector, gains in zip(queries.texts, vectors, queries.gains, strict=True)
        ]
        values = np.array(rows, np.float64).reshape(-1, 2)
        return {"words": values[:, 0], "both": values[:, 1]}

    def _row(
        self, index: LexicalIndex, text: str, vector: FloatArray, gains: Mapping[int, float]
    ) -> tuple[float, float]:
        words = index.search(text, _DEPTH)
        near = top_k(np.asarray(self.vectors @ vector, np.float32), _DEPTH)
        both = reciprocal_rank_fusion((words, near), len(self.items))
        return _value(words, gains), _value(both, gains)


def _value(found: ItemList, gains: Mapping[int, float]) -> float:
    by_item: dict[Hashable, float] = dict(gains.items())
    return METRIC.of_list(grade(found.item_nums.tolist(), by_item))
