"""Index of the item vectors of one model: approximate search, for scores that are dot products.

Vectors of hundreds of dimensions are searched in their main directions: each dimension is scaled by
its spread among typical queries, so that the directions lose least of the scores, not of the
vectors. The index proposes more items than are asked for, and the model scores them exactly. New
and changed items are compared one by one, in the same directions, beside the index, which never
changes.

Shapes: N items, n of them in the index, V size of a vector, D number of main directions, B queries,
M items, L late (new or changed) items.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import AllowedItems, FloatArray, IntArray, Query
from serendip.data.arrays import NO_ITEMS, distinct
from serendip.data.artefact import Artefact
from serendip.data.rows.row_array import merge_numbers
from serendip.models.index.ann_index import ApproximateIndex
from serendip.models.linalg import main_directions

EXACT_UP_TO = 2_000
"""Largest number of items of a model that are all scored for every request."""

NUM_DIRECTIONS = 128

_POOL_FACTOR, _POOL_EXTRA = 2, 100
"""Items that a search for k proposes: 2 k + 100."""

_FITTED_ON = 20_000
"""Item vectors from which the main directions are computed."""

_ROWS_PER_BLOCK = 16_384
_NUM_SAMPLES = 128
"""Typical queries for which the index is built."""

VectorsOf = Callable[[NDArray[np.integer]], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class VectorIndex(Artefact):
    """Main directions, the index of the items known when it was built, and late items.

    Args:
        item_map: (V, D) maps item vectors into the searched space.
        query_map: (V, D) maps query vectors, so that dot products are nearly the same.
        late_items: (L,) int32 items that were added or changed since, ascending.
        late_vectors: (L, D) their vectors in the searched space.
    """

    item_map: FloatArray
    query_map: FloatArray
    base: ApproximateIndex
    late_items: IntArray
    late_vectors: FloatArray

    @classmethod
    def build(cls, vectors_of: VectorsOf, num_items: int, queries: FloatArray) -> Self:
        """Fit the directions and build the index of N items, at least 1.

        Queries (B, V) are typical ones, at least one.
        """
        rows = np.linspace(0, num_items - 1, min(num_items, _FITTED_ON)).astype(np.int32)
        spread = np.sqrt(np.square(queries).mean(0))  # (V,)
        spread = np.maximum(spread, max(float(spread.max()), 1e-12) * 1e-3)
        main = main_directions(vectors_of(rows) * spread, NUM_DIRECTIONS)  # (V, D)
        item_map, query_map = spread[:, None] * main, main / spread[:, None]
        reduced = np.empty((num_items, main.shape[1]), np.float32)  # (N, D)
        for begin in range(0, num_items, _ROWS_PER_BLOCK):
            block = np.arange(begin, min(begin + _ROWS_PER_BLOCK, num_items), dtype=np.int32)
            reduced[block] = vectors_of(block) @ item_map
        base = ApproximateIndex.build(reduced, queries @ query_map)
        return cls(item_map, query_map, base, NO_ITEMS, reduced[:0])

    def with_late(self, item_nums: IntArray, vectors: FloatArray) -> VectorIndex:
        """A copy in which items (M,) have these exact vectors (M, V)."""
        items, places = merge_numbers(self.late_items, item_nums)
        late = np.concatenate([self.late_vectors, vectors @ self.item_map])[places]
        return replace(self, late_items=items, late_vectors=late)

    def reduce(self, queries: FloatArray) -> FloatArray:
        """Query vectors (B, V) in the searched space (B, D)."""
        return queries @ self.query_map

    def search(self, reduced: FloatArray, k: int, allowed: AllowedItems | None) -> IntArray:
        """Items among which the k best allowed ones are expected, in any order.

        ``reduced`` (D,) is the query in the searched space; k is 1 or more; ``allowed`` None = all
        items.
        """
        pool = _POOL_FACTOR * k + _POOL_EXTRA
        if allowed is not None and allowed.count <= pool:
            numbers = allowed.shared.numbers
            return numbers[allowed.admits(numbers)]
        found, _ = self.base.search(reduced, pool, allowed)
        late, vectors = self.late_items, self.late_vectors
        if allowed is not None and len(late):
            usable = allowed.admits(late)
            late, vectors = late[usable], vectors[usable]
        if len(late) > pool:
            late = late[np.argpartition(-(vectors @ reduced), pool - 1)[:pool]]
        return distinct(np.concatenate([found, late])) if len(late) else found

    def stored(self) -> dict[str, Any]:
        """The maps and the index of the generation."""
        return {"item_map": self.item_map, "query_map": self.query_map, "base": self.base}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        no_vectors = np.empty((0, values["item_map"].shape[1]), np.float32)
        return cls(**values, late_items=NO_ITEMS, late_vectors=no_vectors)


class VectorModel(Protocol):
    """A model whose scores are dot products of query vectors and item vectors."""

    @property
    def num_items(self) -> int:
        """N."""
        ...

    def vectors_of(self, items: NDArray[np.integer]) -> FloatArray:
        """(M, V) float32 vectors of items."""
        ...

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """(B, V) float32 vectors of queries."""
        ...

    def typical_queries(self, contexts: Sequence[IntArray]) -> list[Query]:
        """Queries for which the index must be good, given items that go together."""
        ...


class ServedIndex:
    """The index of a model, built on first use; copies of the model share what is built."""

    def __init__(self, built: VectorIndex | None = None) -> None:
        self._built = built
        self._building = threading.Lock()

    def of(self, model: VectorModel) -> VectorIndex:
        """The index of the model's items."""
        with self._building:
            if self._built is None:
                queries = model.encode_queries(model.typical_queries(_draw_contexts(model)))
                self._built = VectorIndex.build(model.vectors_of, model.num_items, queries)
        return self._built

    def with_late(self, model: VectorModel, item_nums: IntArray) -> ServedIndex:
        """For a copy of the model in which some items are new or changed."""
        if self._built is None:
            return ServedIndex()
        return ServedIndex(self._built.with_late(item_nums, model.vectors_of(item_nums)))


def _draw_contexts(model: VectorModel) -> list[IntArray]:
    """Items that go together: a random item, and those most like it of a random sample."""
    rng = np.random.default_rng(0)
    sample = rng.integers(0, model.num_items, 2_000).astype(np.int32)  # (M,)
    vectors = model.vectors_of(sample)  # (M, V)
    contexts = []
    for row in range(min(_NUM_SAMPLES, len(sample))):
        nearest = np.argsort(-(vectors @ vectors[row]), kind="stable")[: rng.integers(1, 9)]
        contexts.append(sample[nearest[::-1]])
    return contexts
