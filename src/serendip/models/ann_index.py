"""Approximate nearest neighbour index: maximum inner product with filters, as an inverted file.

Up to ``exact_up_to`` allowed items are scored exactly. Above that an inverted file (IVF) is
searched: vectors lie in lists around centroids, and only the lists nearest to the query are probed.
The number of probes is chosen when the index is built, so that sample queries reach the configured
recall. A filter allows a share of every list, so proportionally more lists are probed; if fewer
than k items are found, all lists are. So there are always k results if k items are allowed.

Meant for catalogues that are too large to be scored whole. Graph indexes are as fast, but their
recall collapses if most nodes are filtered out.

Shapes: N items, B queries, D size of the vectors, M allowed items.
"""

from __future__ import annotations

import math
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
from serendip.errors import ArtefactError, DataError

INDEX_FILE = "vectors.ivf"
_TRAINING_VECTORS_PER_LIST = 64
"""Vectors per list from which the centroids are computed."""

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
        index = cls(config, vectors, _build_lists(vectors, seed), 1)
        rows = np.random.default_rng(seed).permutation(len(queries))[:_NUM_SAMPLE_QUERIES]
        index.num_probes = index._choose_probes(np.ascontiguousarray(queries[rows], np.float32))
        return index

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
        if self._lists is None or (allowed and allowed.count <= self.config.exact_up_to):
            known = [None] * len(queries) if products is None else products
            return [
                self._search_exact(query, k, allowed, row)
                for query, row in zip(queries, known, strict=True)
            ]
        return [self._search_lists(query, k, allowed) for query in queries]

    def _search_exact(
        self,
        query: FloatArray,
        k: int,
        allowed: AllowedItems | None,
        products: FloatArray | None,
    ) -> ItemList:
        """Score all allowed items for a query (D,), or look them up in its products (N,)."""
        if allowed is None:
            return _take_top(self.vectors @ query if products is None else products, k)
        numbers, vectors = self._allowed_vectors(allowed.shared)  # (M,), (M, D)
        scores = vectors @ query if products is None else products[numbers]
        positions, is_there = locate(numbers, allowed.excluded)
        scores[positions[is_there]] = -np.inf
        top = _take_top(scores, min(k, len(numbers) - int(is_there.sum())))
        return ItemList(numbers[top.item_nums], top.scores)

    def _allowed_vectors(self, items: ItemSet) -> tuple[IntArray, FloatArray]:
        """Numbers (M,) and vectors (M, D) of a set; those of few items are kept with the set."""
        found = self._vectors_of_sets.get(items)
        if found is None:
            numbers = items.numbers[: np.searchsorted(items.numbers, len(self))]
            is_whole = len(numbers) == len(self)
            found = numbers, self.vectors if is_whole else self.vectors[numbers]
            if is_whole or len(numbers) <= self.config.exact_up_to:
                self._vectors_of_sets[items] = found
        return found

    def _search_lists(self, query: FloatArray, k: int, allowed: AllowedItems | None) -> ItemList:
        """Probe the lists nearest to a query (D,), or all lists if they have too few items."""
        wanted = min(k, len(self) if allowed is None else allowed.count)
        for num_probes in (self.num_probes, self._lists.nlist):
            numbers, scores = self._probe(query[None], k, num_probes, allowed)  # (1, k) each
            is_item = numbers[0] >= 0
            if is_item.sum() >= wanted:
                break
        return ItemList(numbers[0][is_item].astype(np.int32), scores[0][is_item])

    def _probe(
        self, queries: FloatArray, k: int, num_probes: int, allowed: AllowedItems | None
    ) -> tuple[NDArray[np.int64], FloatArray]:
        """Item numbers and scores (B, k) from the nearest lists; numbers are padded by -1."""
        faiss = _faiss()
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
        scores, numbers = self._lists.search(queries, k, params=parameters)
        return numbers, scores

    def _choose_probes(self, queries: FloatArray) -> int:
        """Smallest power of 2 of probes at which queries (B, D) reach the recall, or all lists."""
        k = min(self.config.k, len(self))
        exact = [set(_take_top(self.vectors @ query, k).item_nums.tolist()) for query in queries]
        probes = 1
        while probes < self._lists.nlist:
            numbers, _ = self._probe(queries, k, probes, None)  # (B, k)
            hits = [len(top & set(row.tolist())) for top, row in zip(exact, numbers, strict=True)]
            if np.mean(hits) >= self.config.recall * k:
                return probes
            probes *= 2
        return int(self._lists.nlist)

    def save(self, folder: Path) -> None:
        """Write the vectors, and the lists if there are any, into ``folder``, which is created."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "vectors.npy", self.vectors, allow_pickle=False)
        text = self.config.model_dump_json()
        (folder / "config.json").write_text(text, encoding="utf-8")
        if self._lists is not None:
            self._lists.nprobe = self.num_probes
            _faiss().write_index(self._lists, str(folder / INDEX_FILE))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read an index that ``save`` wrote.

        Raises:
            ArtefactError: the folder has no readable index.
        """
        try:
            text = (folder / "config.json").read_text(encoding="utf-8")
            vectors = np.load(folder / "vectors.npy", allow_pickle=False)
            config = ApproximateIndexConfig.model_validate_json(text)
            if len(vectors) <= config.exact_up_to:
                return cls(config, vectors, None, 0)
            lists = _faiss().read_index(str(folder / INDEX_FILE))
        except (OSError, ValueError, RuntimeError) as error:
            raise ArtefactError(
                f"{folder} has no readable approximate index: {error}.", "Build it again."
            ) from None
        return cls(config, vectors, lists, int(lists.nprobe))


def _build_lists(vectors: FloatArray, seed: int) -> Any:
    """Build an inverted file of about 4 sqrt(N) lists; centroids are fitted on a sample.

    The sample gives as good centroids as all vectors, in much less time.
    """
    faiss = _faiss()
    num_lists = max(1, round(4 * math.sqrt(len(vectors))))
    lists = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], num_lists, faiss.METRIC_INNER_PRODUCT
    )
    lists.cp.seed, lists.cp.niter, lists.cp.spherical = seed + 1, 6, True
    lists.cp.min_points_per_centroid = 1
    num_sampled = min(len(vectors), _TRAINING_VECTORS_PER_LIST * num_lists)
    rows = np.random.default_rng(seed).permutation(len(vectors))[:num_sampled]
    lists.train(vectors[np.sort(rows)])
    lists.add(vectors)
    return lists


def _take_top(scores: FloatArray, k: int) -> ItemList:
    """Indices and values of the k largest scores (N,), best first, ties by index."""
    k = min(k, len(scores))
    if k == 0:
        return ItemList()
    best = np.argpartition(-scores, k - 1)[:k]
    best = best[np.lexsort((best, -scores[best]))]
    return ItemList(best.astype(np.int32), np.asarray(scores[best], np.float32))


def _faiss() -> Any:
    """Import faiss, untyped: its stubs lack selectors and inverted files."""
    import faiss

    return faiss
