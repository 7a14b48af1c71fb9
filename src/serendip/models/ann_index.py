"""Approximate nearest neighbour index: maximum inner product with filters, as an inverted file.

Up to ``exact_up_to`` allowed items are scored exactly. Above that an inverted file (IVF) is
searched: vectors lie in lists around centroids, and only the lists nearest to the query are read.
The number of lists is chosen when the index is built, from the recall that real queries need. A
filter passes a share of every list, so proportionally more lists are read; if fewer than k items
are found, all allowed items are scored. So a filter never costs results: k of k are found wherever
k items are allowed.

For catalogues that are too large to be scored whole. Graph indexes are as fast, but lose their way
if most nodes are filtered out.

Shapes: N items, B queries, D size of the vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.item_list import ItemList
from serendip.errors import ArtefactError, DataError

INDEX_FILE = "vectors.ivf"
_SAMPLED_PER_LIST = 64
_TRIED = 200
"""Queries that say how many lists must be read."""


class ApproximateIndexConfig(Config):
    """How exact, and how large before it is worth being inexact."""

    exact_up_to: int = Field(default=50_000, ge=0)
    """Allowed items that are compared one by one."""

    recall: float = Field(default=0.99, gt=0, le=1)
    """Share of the true ``k`` that is to be found on the queries the index is built with."""

    k: int = Field(default=100, ge=1)
    """For how many results that holds."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFilter:
    """Which items are allowed, in the forms that searching needs; made once, used often.

    Args:
        numbers: (M,) int64 allowed items, ascending.
        bits: (ceil(N / 8),) uint8, the same as a bitmap, lowest bit first.
        vectors: (M, D) of the allowed items where they are compared one by one, else (0, D).
    """

    numbers: NDArray[np.int64]
    bits: NDArray[np.uint8]
    vectors: FloatArray


class ApproximateIndex:
    """Finds the items of the largest dot product; answers from any thread, each in one thread."""

    def __init__(
        self, config: ApproximateIndexConfig, vectors: FloatArray, lists: Any, num_probes: int
    ) -> None:
        self.config, self.vectors = config, vectors
        self.num_probes = num_probes
        self._lists = lists

    @classmethod
    def build(
        cls,
        vectors: FloatArray,
        queries: FloatArray,
        config: ApproximateIndexConfig | None = None,
        seed: int = 0,
    ) -> Self:
        """Put vectors into lists, and find how many lists ``queries`` need.

        Args:
            vectors: (N, D) float32.
            queries: (B, D) float32, as they will come; some of them are tried.
            config: see there.
            seed: of the centroids.

        Raises:
            DataError: shapes do not fit, or there are no queries.
        """
        config = config or ApproximateIndexConfig()
        vectors = np.ascontiguousarray(vectors, np.float32)
        if queries.ndim != 2 or queries.shape[1] != vectors.shape[1] or not len(queries):
            raise DataError(
                f"queries of shape {queries.shape} for vectors of shape {vectors.shape}.",
                "Give some (B, D) queries as they will come.",
            )
        if len(vectors) <= config.exact_up_to:
            return cls(config, vectors, None, 0)
        index = cls(config, vectors, _inverted(vectors, seed), 1)
        rows = np.random.default_rng(seed).permutation(len(queries))[:_TRIED]
        index.num_probes = index._probes_for(np.ascontiguousarray(queries[rows], np.float32))
        return index

    def __len__(self) -> int:
        return len(self.vectors)

    def prepare(self, allowed: BoolArray) -> PreparedFilter:
        """A filter from a mask (N,).

        Raises:
            DataError: the mask has another length.
        """
        if len(allowed) != len(self):
            raise DataError(f"a mask of {len(allowed)} for {len(self)} items.")
        numbers = np.flatnonzero(allowed).astype(np.int64)
        few = len(numbers) <= self.config.exact_up_to
        vectors = self.vectors[numbers] if few else self.vectors[:0]
        return PreparedFilter(numbers, np.packbits(allowed, bitorder="little"), vectors)

    def search(
        self, queries: FloatArray, k: int, allowed: PreparedFilter | None = None
    ) -> list[ItemList]:
        """The k items of the largest dot product per query, best first.

        Args:
            queries: (B, D) float32.
            k: 1 or more.
            allowed: which items; None = all.

        Raises:
            DataError: k < 1, or queries of another size.
        """
        if k < 1:
            raise DataError(f"k = {k}.", "Ask for 1 item or more.")
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.vectors.shape[1]:
            raise DataError(
                f"queries of shape {queries.shape} for vectors of size {self.vectors.shape[1]}."
            )
        if self._lists is None or (allowed and len(allowed.numbers) <= self.config.exact_up_to):
            return [self._exact(query, k, allowed) for query in queries]
        return [self._nearby(query, k, allowed) for query in queries]

    def _exact(self, query: FloatArray, k: int, allowed: PreparedFilter | None) -> ItemList:
        """By comparing all allowed items."""
        if allowed is None:
            return _largest(self.vectors @ query, k)
        prepared = len(allowed.vectors) == len(allowed.numbers)
        vectors = allowed.vectors if prepared else self.vectors[allowed.numbers]
        found = _largest(vectors @ query, k)
        numbers = allowed.numbers[found.item_nums].astype(np.int32)
        return ItemList(numbers, found.scores)

    def _nearby(self, query: FloatArray, k: int, allowed: PreparedFilter | None) -> ItemList:
        """By reading the nearest lists; by comparing all where they hold too few."""
        numbers, scores = self._read(query[None], k, self.num_probes, allowed)
        known = numbers[0] >= 0
        enough = min(k, len(self) if allowed is None else len(allowed.numbers))
        if known.sum() < enough:
            return self._exact(query, k, allowed)
        return ItemList(numbers[0][known].astype(np.int32), scores[0][known])

    def _read(
        self, queries: FloatArray, k: int, num_probes: int, allowed: PreparedFilter | None
    ) -> tuple[NDArray[np.int64], FloatArray]:
        """Numbers (B, k) and scores (B, k); -1 where the lists hold no more."""
        faiss = _faiss()
        faiss.omp_set_num_threads(1)
        if allowed is None:
            parameters = faiss.SearchParametersIVF(nprobe=num_probes)
        else:
            # A share of every list is allowed: as many more lists hold as many candidates.
            share = max(len(allowed.numbers), 1) / len(self)
            parameters = faiss.SearchParametersIVF(
                nprobe=min(self._lists.nlist, math.ceil(num_probes / share)),
                sel=faiss.IDSelectorBitmap(allowed.bits),
            )
        scores, numbers = self._lists.search(queries, k, params=parameters)
        return numbers, scores

    def _probes_for(self, queries: FloatArray) -> int:
        """The fewest lists, doubling, that hold enough of what the queries should find."""
        k = min(self.config.k, len(self))
        true = [set(_largest(self.vectors @ query, k).item_nums.tolist()) for query in queries]
        probes = 1
        while probes < self._lists.nlist:
            numbers, _ = self._read(queries, k, probes, None)
            found = [len(want & set(row.tolist())) for want, row in zip(true, numbers, strict=True)]
            if np.mean(found) >= self.config.recall * k:
                return probes
            probes *= 2
        return int(self._lists.nlist)

    def save(self, folder: Path) -> None:
        """Write the vectors, and the lists where there are any, into ``folder`` (created)."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "vectors.npy", self.vectors, allow_pickle=False)
        text = self.config.model_dump_json()
        (folder / "config.json").write_text(text, encoding="utf-8")
        if self._lists is not None:
            self._lists.nprobe = self.num_probes
            _faiss().write_index(self._lists, str(folder / INDEX_FILE))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtefactError: the folder holds no such index.
        """
        try:
            text = (folder / "config.json").read_text(encoding="utf-8")
            vectors = np.load(folder / "vectors.npy", allow_pickle=False)
            config = ApproximateIndexConfig.model_validate_json(text)
            if len(vectors) <= config.exact_up_to:
                return cls(config, vectors, None, 0)
            lists = _faiss().read_index(str(folder / INDEX_FILE))
        except (OSError, ValueError, RuntimeError) as error:
            raise ArtefactError(f"{folder} holds no readable approximate index: {error}.") from None
        return cls(config, vectors, lists, int(lists.nprobe))


def _inverted(vectors: FloatArray, seed: int) -> Any:
    """About 4 sqrt(N) lists; centroids from a sample, which is as good and much faster."""
    faiss = _faiss()
    num_lists = max(1, round(4 * math.sqrt(len(vectors))))
    lists = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], num_lists, faiss.METRIC_INNER_PRODUCT
    )
    lists.cp.seed, lists.cp.niter, lists.cp.spherical = seed + 1, 6, True
    lists.cp.min_points_per_centroid = 1
    sampled = min(len(vectors), _SAMPLED_PER_LIST * num_lists)
    rows = np.random.default_rng(seed).permutation(len(vectors))[:sampled]
    lists.train(vectors[np.sort(rows)])
    lists.add(vectors)
    return lists


def _largest(scores: FloatArray, k: int) -> ItemList:
    """Places and values of the k largest of one row, best first; equal ones by number."""
    k = min(k, len(scores))
    if k == 0:
        return ItemList()
    best = np.argpartition(-scores, k - 1)[:k]
    best = best[np.lexsort((best, -scores[best]))]
    return ItemList(best.astype(np.int32), np.asarray(scores[best], np.float32))


def _faiss() -> Any:
    """The library, untyped: its own stubs lack selectors and inverted files."""
    import faiss

    return faiss
