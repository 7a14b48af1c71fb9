"""Approximate nearest neighbour index: maximum inner product with filters, as an inverted file.

Up to ``exact_up_to`` allowed items are scored exactly. Above that an inverted file (IVF) is
searched: vectors lie in lists around centroids, and only the lists nearest to the query are probed.
The lists hold four bits per dimension, which processors compare 32 items at a time (fast scan), so
that probing half of the lists or more, as vectors without clusters need, is still cheap; the best
of what they propose is compared by vectors of 8 bits per dimension. The number of probes is chosen
when the index is built, so that sample queries reach the configured recall. A filter allows a share
of every list, so proportionally more lists are probed; if fewer than k items are found, all lists
are. So there are always k results if k items are allowed.

Results of an inverted file are candidates, whose exact scores the caller computes. Its vectors of 8
bits (``PackedRows``) are memory-mapped, so that processes that open the same index share them; each
reads the lists, half a byte per dimension and 8 bytes per item, into memory of its own.

Meant for catalogues that are too large to be scored whole. Graph indexes are as fast, but their
recall collapses if most nodes are filtered out. Papers: Jegou et al. 2011, Product Quantization for
Nearest Neighbor Search; Andre et al. 2015, Cache locality is not enough: high-performance nearest
neighbor search with product quantization fast scan.

Shapes: N items, B queries, D size of the vectors, M allowed items.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serendip.config import Config
from serendip.data.allowed_items import AllowedItems, ItemSet
from serendip.data.arrays import FloatArray, IntArray, locate
from serendip.data.item_list import ItemList
from serendip.data.packed_rows import open_packed, pack_rows, packed_arrays
from serendip.data.row_array import dot_items
from serendip.data.strings import map_array, open_arrays, save_arrays
from serendip.errors import ArtefactError, DataError

INDEX_FILE, _VECTORS_FILE, _PACKED_FOLDER = "vectors.ivf", "vectors.npy", "packed"
_TRAINING_VECTORS_PER_LIST = 256
"""Vectors per list from which the centroids are computed."""

_BITS = 4
"""Bits per dimension in the lists; the fast scan needs 4."""

_PROPOSED_FACTOR, _PROPOSED_EXTRA = 2, 500
"""Items that the lists propose in a search for k: 2 k + 500."""

_MOST_GATHERED, _SELECTIVE = 20_000, 8
"""A set of at most so many items, less than one in 8, is scored exactly, too: that is cheaper than
to look for them in the lists."""

_NUM_SAMPLE_QUERIES = 200
"""Queries on which recall is measured to choose the number of probes."""


class ApproximateIndexConfig(Config):
    """Recall of the index, and the number of items up to which search is exact."""

    exact_up_to: int = Field(default=50_000, ge=0)
    """Largest number of allowed items that are scored exactly."""

    recall: float = Field(default=0.99, gt=0, le=1)
    """Target recall@k on the sample queries given to ``build``."""

    k: int = Field(default=100, ge=1)
    """Number of results for which recall is measured."""


class ApproximateIndex:
    """Index for maximum inner product search; thread-safe, one thread per search."""

    def __init__(
        self, config: ApproximateIndexConfig, vectors: FloatArray, lists: Any, num_probes: int
    ) -> None:
        self.config, self.vectors = config, vectors
        self.num_probes = num_probes
        self._lists = lists
        self._vectors_of_sets: WeakKeyDictionary[ItemSet, tuple[IntArray, FloatArray]] = (
            WeakKeyDictionary()
        )

    @classmethod
    def build(
        cls,
        vectors: FloatArray,
        queries: FloatArray,
        config: ApproximateIndexConfig | None = None,
        seed: int = 0,
    ) -> Self:
        """Build the inverted file and choose the number of probes.

        Args:
            vectors: (N, D) float32.
            queries: (B, D) float32, representative; recall is measured on a sample of them.
            config: see there.
            seed: of the centroids and the sample.

        Raises:
            DataError: shapes do not match, or there are no queries.
        """
        config = config or ApproximateIndexConfig()
        vectors = np.ascontiguousarray(vectors, np.float32)
        if queries.ndim != 2 or queries.shape[1] != vectors.shape[1] or not len(queries):
            raise DataError(
                f"queries have shape {queries.shape} and vectors {vectors.shape}.",
                "Give at least one representative query, as an array (B, D).",
            )
        if len(vectors) <= config.exact_up_to:
            return cls(config, vectors, None, 0)
        lists = _build_lists(vectors, seed)
        index = cls(config, vectors, lists, 1)
        rows = np.random.default_rng(seed).permutation(len(queries))[:_NUM_SAMPLE_QUERIES]
        num_probes = index._choose_probes(np.ascontiguousarray(queries[rows], np.float32))
        return cls(config, pack_rows(vectors), lists, num_probes)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def is_exact(self) -> bool:
        """True if every search compares all allowed items."""
        return self._lists is None

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: AllowedItems | None = None,
        products: FloatArray | None = None,
    ) -> list[ItemList]:
        """Find the k items with the largest dot product per query, best first.

        Scores are products with the vectors as the index has them.

        Args:
            queries: (B, D) float32.
            k: 1 or more.
            allowed: allowed items, of N or more; those beyond N are not found. None = all.
            products: (B, N) the dot products, if they are known and the index is exact.

        Raises:
            DataError: k < 1, queries of another size, or a set of fewer than N items.
        """
        if k < 1:
            raise DataError(f"k = {k} is less than 1.", "Request 1 item or more.")
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.vectors.shape[1]:
            raise DataError(
                f"queries have shape {queries.shape} and vectors are of size "
                f"{self.vectors.shape[1]}.",
                "Give an array (B, D) of queries of the same size.",
            )
        if allowed is not None and allowed.shared.num_items < len(self):
            raise DataError(
                f"the allowed items are of {allowed.shared.num_items} and the index has "
                f"{len(self)}.",
                "Give a set of all items.",
            )
        known = [None] * len(queries) if products is None else products
        found = (
            self._find(query, k, allowed, row) for query, row in zip(queries, known, strict=True)
        )
        return [_sort(items, scores) for items, scores in found]

    def nearest(
        self,
        query: FloatArray,
        k: int,
        allowed: AllowedItems | None,
        products: FloatArray | None = None,
    ) -> IntArray:
        """The items of ``search`` for one query (D,), in any order."""
        return self._find(np.ascontiguousarray(query, np.float32), k, allowed, products)[0]

    def nearest_scored(
        self, query: FloatArray, k: int, allowed: AllowedItems | None
    ) -> tuple[IntArray, FloatArray]:
        """The items (C,) of ``search`` for one query (D,) and their products (C,), in any order."""
        return self._find(np.ascontiguousarray(query, np.float32), k, allowed, None)

    def _find(
        self, query: FloatArray, k: int, allowed: AllowedItems | None, products: FloatArray | None
    ) -> tuple[IntArray, FloatArray]:
        """Items (C,) and their products (C,), in any order."""
        is_small = allowed is not None and allowed.count <= self._most_exact
        if self._lists is None or is_small:
            return self._find_exactly(query, k, allowed, products)
        return self._find_in_lists(query, k, allowed)

    @property
    def _most_exact(self) -> int:
        """Largest number of allowed items that are scored exactly."""
        return max(self.config.exact_up_to, min(_MOST_GATHERED, len(self) // _SELECTIVE))

    def _find_exactly(
        self, query: FloatArray, k: int, allowed: AllowedItems | None, products: FloatArray | None
    ) -> tuple[IntArray, FloatArray]:
        """Score all allowed items for a query (D,), or look them up in its products (N,)."""
        if allowed is None:
            scores = self.vectors @ query if products is None else products
            best = find_top(scores, k)
            return best.astype(np.int32), scores[best]
        numbers, vectors = self._allowed_vectors(allowed.shared)  # (M,), (M, D)
        scores = vectors @ query if products is None else products[numbers]
        positions, is_there = locate(numbers, allowed.excluded)
        scores[positions[is_there]] = -np.inf
        best = find_top(scores, min(k, len(numbers) - int(np.count_nonzero(is_there))))
        return numbers[best], scores[best]

    def _allowed_vectors(self, items: ItemSet) -> tuple[IntArray, FloatArray]:
        """Numbers (M,) and vectors (M, D) of a set; those of few items are kept with the set."""
        found = self._vectors_of_sets.get(items)
        if found is None:
            numbers = items.numbers[: np.searchsorted(items.numbers, len(self))]
            is_whole = len(numbers) == len(self)
            found = numbers, self.vectors if is_whole else self.vectors[numbers]
            if is_whole or len(numbers) <= self._most_exact:
                self._vectors_of_sets[items] = found
        return found

    def _find_in_lists(
        self, query: FloatArray, k: int, allowed: AllowedItems | None
    ) -> tuple[IntArray, FloatArray]:
        """Probe the lists nearest to a query (D,), or all lists if they have too few items."""
        wanted = min(k, len(self) if allowed is None else allowed.count)
        for num_probes in (self.num_probes, self._lists.nlist):
            items, scores = self._probe(query, k, num_probes, allowed)
            if len(items) >= wanted:
                break
        return items, scores

    def _probe(
        self, query: FloatArray, k: int, num_probes: int, allowed: AllowedItems | None
    ) -> tuple[IntArray, FloatArray]:
        """The best items (k,) for a query (D,) of those that its nearest lists propose."""
        pool = _PROPOSED_FACTOR * k + _PROPOSED_EXTRA
        proposed = self._propose(query, pool, num_probes, allowed)
        numbers: IntArray = proposed[proposed >= 0].astype(np.int32)
        scores = dot_items(self.vectors, numbers, query)
        best = find_top(scores, k)
        return numbers[best], scores[best]

    def _propose(
        self, query: FloatArray, count: int, num_probes: int, allowed: AllowedItems | None
    ) -> NDArray[np.int64]:
        """Item numbers (count,) by the four bits of the nearest lists, padded by -1."""
        faiss = load_faiss()
        faiss.omp_set_num_threads(1)
        if allowed is None:
            parameters = faiss.SearchParametersIVF(nprobe=num_probes)
        else:
            # 1 / share times as many lists contain the same number of allowed items.
            share = min(1.0, max(allowed.count, 1) / len(self))
            selector = faiss.IDSelectorBitmap(allowed.shared.bits)
            if len(allowed.excluded):
                left_out = faiss.IDSelectorBatch(allowed.excluded.astype(np.int64))
                kept = faiss.IDSelectorNot(left_out)
                selector = faiss.IDSelectorAnd(selector, kept)
            parameters = faiss.SearchParametersIVF(
                nprobe=min(self._lists.nlist, math.ceil(num_probes / share)), sel=selector
            )
        found = self._lists.search(query[None], count, params=parameters)[1]  # (1, count)
        return np.asarray(found[0], np.int64)

    def _choose_probes(self, queries: FloatArray) -> int:
        """Smallest power of 2 of probes at which queries (B, D) reach the recall, or all lists."""
        k = min(self.config.k, len(self))
        exact = [set(find_top(self.vectors @ query, k).tolist()) for query in queries]
        probes = 1
        while probes < self._lists.nlist:
            found = (self._probe(query, k, probes, None)[0].tolist() for query in queries)
            hits = [len(top & set(items)) for top, items in zip(exact, found, strict=True)]
            if np.mean(hits) >= self.config.recall * k:
                return probes
            probes *= 2
        return int(self._lists.nlist)

    def save(self, folder: Path) -> None:
        """Write the vectors, and the lists if there are any, into ``folder``, which is created."""
        folder.mkdir(parents=True, exist_ok=True)
        text = self.config.model_dump_json()
        (folder / "config.json").write_text(text, encoding="utf-8")
        if self._lists is None:
            np.save(folder / _VECTORS_FILE, self.vectors, allow_pickle=False)
        else:
            save_arrays(folder / _PACKED_FOLDER, packed_arrays("vectors", self.vectors))
            self._lists.nprobe = self.num_probes
            load_faiss().write_index(self._lists, str(folder / INDEX_FILE))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read an index that ``save`` wrote.

        Raises:
            ArtefactError: the folder has no readable index.
        """
        config, vectors = open_vectors(folder)
        lists = open_lists(folder)
        return cls(config, vectors, lists, 0 if lists is None else int(lists.nprobe))


def open_vectors(folder: Path) -> tuple[ApproximateIndexConfig, FloatArray]:
    """Settings of an index and its vectors (N, D), mapped into memory.

    Raises:
        ArtefactError: the folder has no readable index.
    """
    with _readable(folder):
        text = (folder / "config.json").read_text(encoding="utf-8")
        config = ApproximateIndexConfig.model_validate_json(text)
        if not (folder / INDEX_FILE).exists():
            return config, map_array(folder / _VECTORS_FILE)
        return config, open_packed("vectors", open_arrays(folder / _PACKED_FOLDER))


def open_lists(folder: Path) -> Any:
    """The inverted file of an index, read into memory; None if it compares all items.

    Raises:
        ArtefactError: the folder has no readable index.
    """
    with _readable(folder):
        path = folder / INDEX_FILE
        return load_faiss().read_index(str(path)) if path.exists() else None


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ArtefactError(
            f"{folder} has no readable approximate index: {error}.", "Build it again."
        ) from None


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


def find_top(scores: FloatArray, k: int) -> NDArray[np.intp]:
    """Indices (k,) of the k largest scores (N,), in any order; all N, if there are no more."""
    if k < 1 or k >= len(scores):
        return np.arange(len(scores))[: max(k, 0)]
    return np.argpartition(-scores, k - 1)[:k]


def _sort(items: IntArray, scores: FloatArray) -> ItemList:
    """Items (C,) by their scores, best first, ties by number."""
    order = np.lexsort((items, -scores))
    return ItemList(items[order], np.asarray(scores[order], np.float32))


def load_faiss() -> Any:
    """Import faiss on first use, untyped: its stubs lack selectors and inverted files."""
    import faiss

    return faiss
