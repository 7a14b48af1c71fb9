"""Index of the item vectors of one model: approximate search, for scores that are dot products.

Vectors of hundreds of dimensions are searched in their main directions: each dimension is scaled by
its spread among typical queries, so that the directions lose least of the scores, not of the
vectors. The index proposes more items than are asked for, and the model scores them exactly. New
and changed items are compared one by one, in the same directions, beside the index, which never
changes.

**Inverted file**: approximate nearest neighbours by maximum inner product, with filters. Few
allowed items are scored one by one. Of more an inverted file (IVF) is searched: vectors lie in
lists around centroids, and only the lists nearest to the query are probed. The lists hold four bits
per dimension, which processors compare 32 items at a time (fast scan), so that probing half of the
lists or more, as vectors without clusters need, is still cheap; the best of what they propose is
compared by vectors of 8 bits per dimension. The number of probes is chosen when the index is built,
so that sample queries reach ``RECALL``. A filter allows a share of every list, so proportionally
more lists are probed; if fewer than k items are found, all lists are. So there are always k results
if k items are allowed.

What is found by lists depends on the items and the query alone, not on where in the index an item
lies: of items that are equally close all are proposed, products are rounded alike in any row (by
the same version of numpy on the same kind of processor), and of equal products the lower item
number counts.

Results of an inverted file are candidates, whose exact scores the caller computes. Its vectors of 8
bits (``PackedRows``) are memory-mapped, so that processes that open the same index share them; each
reads the lists, half a byte per dimension and 8 bytes per item, into memory of its own.

Meant for catalogues that are too large to be scored whole. Graph indexes are as fast, but their
recall collapses if most nodes are filtered out. Papers: Jegou et al. 2011, Product Quantization for
Nearest Neighbor Search; Andre et al. 2015, Cache locality is not enough: high-performance nearest
neighbor search with product quantization fast scan.

Shapes: N items, n of them in the index, V size of a vector, D number of main directions, B queries,
M items, or allowed ones, L late (new or changed) items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from serendip.data import NO_ITEMS, Artefact, FloatArray, IntArray, distinct, locate
from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.data.rows.row_array import PackedRows, dot_items, merge_numbers, pack_rows
from serendip.models.linalg import main_directions

LISTS_FILES = "*-lists.npy"
"""Pattern of the file of an artefact that has the lists of an index."""

RECALL = 0.995
"""Share of the best 100 items of sample queries that the probed lists have, at least."""

_TRAINING_VECTORS_PER_LIST = 256
"""Vectors per list from which the centroids are computed."""

_BITS = 4
"""Bits per dimension in the lists; the fast scan needs 4."""

_PROPOSED_FACTOR, _PROPOSED_EXTRA = 2, 500
"""Items that the lists propose in a search for k: 2 k + 500."""

_TIES = 64
"""Items beyond those that the lists are to propose, to see which of them are equally close."""

_MOST_PROPOSED_FACTOR = 16
"""Among more equally close items than so many times those that are to be proposed, the order of the
lists decides."""

_FEW = 2_000
"""Most items of a set of a request's own filters whose vectors are kept with it."""
_FEW_ALLOWED = 4_000
"""So many items, or fewer, are scored one by one ..."""
_MOST_GATHERED, _SELECTIVE = 20_000, 8
"""... and a set of at most so many, less than one in 8: that is cheaper than to look for them in
the lists."""

_NUM_SAMPLE_QUERIES, _COMPARED = 200, 100
"""Queries on which recall is measured to choose the number of probes, and the best items of each
that count."""


def take_best(items: IntArray, scores: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """The k items (C,) with the largest scores (C,), and those, in the order of their numbers.

    Of equal scores the lower numbers are taken.
    """
    order = np.argsort(items, kind="stable")
    items, scores = items[order], scores[order]
    best = _find_first(scores, k)
    return items[best], scores[best]


class ApproximateIndex(Artefact):
    """Index for maximum inner product search; thread-safe, one thread per search."""

    def __init__(self, vectors: FloatArray, lists: Any) -> None:
        self.vectors, self._lists = vectors, lists
        self._vectors_of_sets: WeakKeyDictionary[ItemSet, tuple[IntArray, FloatArray]] = (
            WeakKeyDictionary()
        )

    @classmethod
    def build(cls, vectors: FloatArray, queries: FloatArray, seed: int = 0) -> Self:
        """Build the inverted file of vectors (N, D) float32 and choose the number of probes.

        Queries (B, D) float32, one or more, are representative; recall is measured on a sample of
        them.
        """
        vectors = np.ascontiguousarray(vectors, np.float32)
        index = cls(vectors, _build_lists(vectors, seed))
        rows = np.random.default_rng(seed).permutation(len(queries))[:_NUM_SAMPLE_QUERIES]
        index._choose_probes(np.ascontiguousarray(queries[rows], np.float32))
        index.vectors = pack_rows(vectors)
        return index

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def num_probes(self) -> int:
        """Number of lists that a search without a filter probes."""
        return int(self._lists.nprobe)

    def search(
        self, query: FloatArray, k: int, allowed: AllowedItems | None = None
    ) -> tuple[IntArray, FloatArray]:
        """The k items (C,) with the largest dot products, ascending, and their products (C,).

        These are products with the vectors as the index has them. ``allowed`` may have items beyond
        N, which are not found; None = all.
        """
        query = np.ascontiguousarray(query, np.float32)
        count = len(self) if allowed is None else allowed.count
        if count <= max(_FEW_ALLOWED, min(_MOST_GATHERED, len(self) // _SELECTIVE)):
            return self._compare_all(query, k, allowed or AllowedItems.all(len(self)))
        # 1 / share times as many lists contain the same number of allowed items.
        share = min(1.0, count / len(self))
        items = self._probe(query, k, math.ceil(self.num_probes / share), allowed)
        if len(items) < min(k, count):
            items = self._probe(query, k, self._lists.nlist, allowed)
        return take_best(items, dot_items(self.vectors, items, query), k)

    def _compare_all(
        self, query: FloatArray, k: int, allowed: AllowedItems
    ) -> tuple[IntArray, FloatArray]:
        numbers, vectors = self._allowed_vectors(allowed.shared)  # (M,), (M, D)
        scores: FloatArray = np.einsum("nd,d->n", vectors, query)
        positions, is_there = locate(numbers, allowed.excluded)
        scores[positions[is_there]] = -np.inf
        best = _find_first(scores, min(k, len(numbers) - int(np.count_nonzero(is_there))))
        return numbers[best], scores[best]

    def _allowed_vectors(self, items: ItemSet) -> tuple[IntArray, FloatArray]:
        """Numbers (M,) and vectors (M, D) of a set; those of few items are kept with the set."""
        found = self._vectors_of_sets.get(items)
        if found is None:
            numbers = items.numbers[: np.searchsorted(items.numbers, len(self))]
            is_whole = len(numbers) == len(self)
            rows = np.asarray(self.vectors) if is_whole else self.vectors[numbers]
            found = numbers, rows
            most = _MOST_GATHERED if items.is_lasting else _FEW
            if is_whole or len(numbers) <= most:
                self._vectors_of_sets[items] = found
        return found

    def _probe(
        self, query: FloatArray, k: int, num_probes: int, allowed: AllowedItems | None
    ) -> IntArray:
        """The items (C,) that are closest by the four bits of the nearest lists, for the best k.

        Items that the lists find as close as the last of them are all there.
        """
        faiss = load_faiss()
        faiss.omp_set_num_threads(1)
        selector = None if allowed is None else _select(allowed)
        num_probes = min(self._lists.nlist, num_probes)
        parameters = faiss.SearchParametersIVF(nprobe=num_probes, sel=selector)
        pool = _PROPOSED_FACTOR * k + _PROPOSED_EXTRA
        count, most = pool + _TIES, _MOST_PROPOSED_FACTOR * pool
        while True:
            found = self._lists.search(query[None], count, params=parameters)
            closeness, items = found[0][0], found[1][0]  # (count,), closest first
            bar = closeness[pool - 1]
            if items[-1] < 0 or closeness[-1] < bar or count >= most:
                break
            count = min(2 * count, most)
        is_close = (items >= 0) & (closeness >= bar)
        return np.asarray(items[is_close], np.int32)

    def _choose_probes(self, queries: FloatArray) -> None:
        k = min(_COMPARED, len(self))
        exact = [set(_find_first(self.vectors @ query, k).tolist()) for query in queries]
        self._lists.nprobe = 1
        while self._lists.nprobe < self._lists.nlist:
            tried = [(query, self._probe(query, k, self._lists.nprobe, None)) for query in queries]
            found = [
                take_best(items, dot_items(self.vectors, items, query), k)[0]
                for query, items in tried
            ]
            hits = [len(top & set(items.tolist())) for top, items in zip(exact, found, strict=True)]
            if np.mean(hits) >= RECALL * k:
                return
            self._lists.nprobe = min(2 * self._lists.nprobe, self._lists.nlist)

    def stored(self) -> dict[str, Any]:
        """The vectors, packed, and the lists as faiss writes them."""
        lists = load_faiss().serialize_index(self._lists)
        return {"vectors": PackedRows.of(self.vectors), "lists": lists}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        return cls(values["vectors"], load_faiss().deserialize_index(values["lists"]))


def _build_lists(vectors: FloatArray, seed: int) -> Any:
    """Build an inverted file of about sqrt(N) lists; centroids are fitted on a sample.

    The sample gives as good centroids as all vectors, in much less time.
    """
    faiss = load_faiss()
    num_lists, size = max(1, round(math.sqrt(len(vectors)))), vectors.shape[1]
    coarse, metric = faiss.IndexFlatIP(size), faiss.METRIC_INNER_PRODUCT
    lists = faiss.IndexIVFPQFastScan(coarse, size, num_lists, size, _BITS, metric)
    lists.by_residual = False
    lists.cp.seed, lists.cp.niter, lists.cp.spherical = seed + 1, 6, True
    lists.cp.min_points_per_centroid = 1
    num_sampled = min(len(vectors), _TRAINING_VECTORS_PER_LIST * num_lists)
    rows = np.random.default_rng(seed).permutation(len(vectors))[:num_sampled]
    lists.train(vectors[np.sort(rows)])
    lists.add(vectors)
    return lists


def _select(allowed: AllowedItems) -> Any:
    faiss = load_faiss()
    selector = faiss.IDSelectorBitmap(allowed.shared.bits)
    if not len(allowed.excluded):
        return selector
    left_out = faiss.IDSelectorBatch(allowed.excluded.astype(np.int64))
    return faiss.IDSelectorAnd(selector, faiss.IDSelectorNot(left_out))


def _find_first(scores: FloatArray, k: int) -> NDArray[np.intp]:
    """Indices (k,) of the k largest scores (N,), ascending; of equal ones the first; at most N."""
    if k < 1 or k >= len(scores):
        return np.arange(len(scores))[: max(k, 0)]
    least = -np.partition(-scores, k - 1)[k - 1]
    is_best = scores > least
    num_missing = k - int(np.count_nonzero(is_best))
    is_best[np.flatnonzero(scores == least)[:num_missing]] = True
    return np.flatnonzero(is_best)


def load_faiss() -> Any:
    """Import faiss on first use, untyped: its stubs lack selectors and inverted files."""
    import faiss

    return faiss


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


def draw_contexts(vectors_of: VectorsOf, num_items: int) -> list[IntArray]:
    """Items that go together: a random item, and those most like it of a random sample."""
    rng = np.random.default_rng(0)
    sample = rng.integers(0, num_items, 2_000).astype(np.int32)  # (M,)
    vectors = vectors_of(sample)  # (M, V)
    contexts = []
    for row in range(min(_NUM_SAMPLES, len(sample))):
        nearest = np.argsort(-(vectors @ vectors[row]), kind="stable")[: rng.integers(1, 9)]
        contexts.append(sample[nearest[::-1]])
    return contexts
