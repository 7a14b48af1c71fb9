"""What a trained retriever has: ONNX context encoder, item vectors, item encoder arrays.

**Quality vector**: query-independent item quality as extra dimensions of the retriever's index.
``score = u . z(i) + w . quality(i)``: quality is appended to item vectors and one constant weight
vector w to every request vector, so that retrieval itself prefers good items. All columns have the
same weight, the largest one that costs the validation requests of no task more than a given share
of their nDCG@10. Trained with the network weights would overfit to popularity.

Source: Jha et al. 2023, "Unified Embedding Based Personalized Retrieval in Etsy Search",
arXiv:2306.04833, which optimises a weight of each column.

**Start**: what a retriever learned from earlier events, as arrays from which a training continues.

Shapes: N items, N' of the earlier training, E size of their vectors, or of an ID embedding, L code
levels, Q columns of quality.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data import Artefact, BoolArray, FloatArray, IntArray
from serendip.data.items.quality import UNKNOWN
from serendip.data.rows.row_array import PackedRows, dot_items, dot_rows, put_rows
from serendip.models.base import WarmStart
from serendip.models.retriever.content_scores import ContentScores
from serendip.models.retriever.item_encoder import ItemEncoderArrays


@dataclass(frozen=True, slots=True, eq=False)
class QualityVector(Artefact):
    """Quality of the items and its weights.

    Args:
        values: (N, Q) float32 in [0, 1].
        weights: (Q,) float32 >= 0, in units of the score; zeros = no effect.
    """

    values: FloatArray
    weights: FloatArray

    @property
    def added(self) -> FloatArray:
        """Weighted quality (N,), added to the scores of the items."""
        added: FloatArray = dot_rows(self.weights[None], self.values)[0]
        return added

    def with_new(self, item_nums: IntArray) -> QualityVector:
        """A copy with new items (M,), of unknown quality."""
        unknown = np.tile(UNKNOWN, (len(item_nums), 1))
        return replace(self, values=put_rows(self.values, item_nums, unknown))


_PARAMETER = "network/"
_WEIGHTS = ("content_weights", "known_weights", "quality_weights")

_COUNTRIES = "countries"

IDS, CODE_TABLES = "tower.ids", "tower.code_tables"
"""Names of the parameters with a row per item, and per code."""


@dataclass(frozen=True, slots=True, eq=False)
class RetrieverStart:
    """A trained network and the weights that were tuned with it.

    Args:
        codes: (N', L) semantic IDs.
        seen: (N',) items with a trained ID embedding.
        countries: names of the rows of the countries' vectors; empty = countries are not read.
        content_weights: (tasks, 2); None = content was not aligned.
        known_weights: (2,) for trained queries; None = there were none.
        quality_weights: (Q,); None = quality is not used.
        rows: (N,) int32 number of each present item in the earlier training; -1 = new.
    """

    parameters: Mapping[str, FloatArray]
    codes: IntArray
    seen: BoolArray
    countries: tuple[str, ...] = ()
    content_weights: FloatArray | None = None
    known_weights: FloatArray | None = None
    quality_weights: FloatArray | None = None
    rows: IntArray = field(default_factory=lambda: np.empty(0, np.int32))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, by name; see ``Recommender.learned``."""
        parameters = {f"{_PARAMETER}{name}": array for name, array in self.parameters.items()}
        names = np.frombuffer(json.dumps(self.countries).encode(), np.uint8)
        weights = {name: getattr(self, name) for name in _WEIGHTS}
        tuned = {name: array for name, array in weights.items() if array is not None}
        return {**parameters, **tuned, "codes": self.codes, "seen": self.seen, _COUNTRIES: names}

    @classmethod
    def of(cls, start: WarmStart) -> RetrieverStart | None:
        """Rebuild from ``arrays``; None without any."""
        stored = start.arrays
        if not stored:
            return None
        parameters = {
            name.removeprefix(_PARAMETER): array
            for name, array in stored.items()
            if name.startswith(_PARAMETER)
        }
        countries = tuple(json.loads(stored[_COUNTRIES].tobytes()))
        content, known, quality = (stored.get(name) for name in _WEIGHTS)
        own = stored["codes"], stored["seen"], countries
        return cls(parameters, *own, content, known, quality, start.rows)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedRetriever(Artefact):
    """Result of training a retriever.

    Args:
        item_vectors: (N, E).
        projected: (N, E) projected content of the items; float16 in an opened artefact.
        bonus: (N,) float32 new item bonus, added to each item's scores.
        affinity: content scores, added to those of the network; None = no alignment.
        quality: item quality and its weights; None = quality is not used.
        countries: countries of home requests; empty = countries are not read.
        start: what a training on more events continues from; None in an opened artefact.
    """

    context: bytes
    item_vectors: FloatArray
    projected: FloatArray
    tower: ItemEncoderArrays
    bonus: FloatArray
    affinity: ContentScores | None = None
    num_parameters: int = 0
    quality: QualityVector | None = None
    countries: tuple[str, ...] = ()
    start: RetrieverStart | None = None

    def stored(self) -> dict[str, Any]:
        """Vectors are packed; projected content is in halves.

        A change of an item's words changes it by less than 8 bits can tell.
        """
        values = Artefact.stored(self) | {
            "item_vectors": PackedRows.of(self.item_vectors),
            "projected": np.asarray(self.projected, np.float16),
        }
        del values["start"]
        return values

    @property
    def added(self) -> FloatArray:
        """Query-independent part (N,) float32 of each item's scores: bonus and quality."""
        return self.bonus if self.quality is None else self.bonus + self.quality.added

    def scores_of(self, query: FloatArray, items: IntArray) -> FloatArray:
        """Scores (C,) of items, for an index vector (V,) of a query: their dot products.

        Parts in which the query is 0 are not read.
        """
        size = self.item_vectors.shape[1]
        scores = dot_items(self.item_vectors, items, query[:size]) + self.bonus[items]
        if self.affinity is not None:
            end = size + self.affinity.size
            scores += self.affinity.scores_of(query[size:end], items)
        if self.quality is not None:
            scores += self.quality.values[items] @ self.quality.weights
        return np.asarray(scores, np.float32)

    def scores_of_all(self, queries: FloatArray) -> FloatArray:
        """Scores (B, N) of all items, for index vectors (B, V) of queries."""
        size = self.item_vectors.shape[1]
        scores = dot_rows(queries[:, :size], self.item_vectors) + self.added
        if self.affinity is not None:
            scores += self.affinity.scores_of_all(queries[:, size : size + self.affinity.size])
        return scores
