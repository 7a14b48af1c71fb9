"""Approximate nearest neighbour index: maximum inner product with filters, as an inverted file.

Up to ``exact_up_to`` allowed items are scored exactly. Above that an inverted file (IVF) is
searched: vectors lie in lists around centroids, and only the lists nearest to the query are probed.
The lists hold four bits per dimension, which processors compare 32 items at a time (fast scan), so
that probing half of the lists or more, as vectors without clusters need, is still cheap; the best
of what they propose is compared by vectors of 8 bits per dimension. The number of probes is chosen
when the index is built, so that sample queries reach the configured recall. A filter allows a share
of every list, so proportionally more lists are probed; if fewer than k items are found, all lists
are. So there are always k results if k items are allowed.

What is found by lists depends on the items and the query alone, not on where in the index an item
lies: of items that are equally close all are proposed, products are rounded alike in any row (by
the same version of numpy on the same kind of processor), and of equal products the lower item
number counts. So a range of the index (``sharded_index``) finds what the whole finds in it.

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, locate
from serendip.data.item_list import ItemList
from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.data.rows.packed_rows import open_packed, pack_rows, packed_arrays
from serendip.data.rows.row_array import dot_items
from serendip.data.rows.strings import map_array, open_arrays, save_arrays
from serendip.errors import ArtefactError, DataError

INDEX_FILE, _VECTORS_FILE, _PACKED_FOLDER = "vectors.ivf", "vectors.npy", "packed"
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


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How one search goes: decided for the whole index, followed in each range of it.

    Args:
        k: number of items that are wanted.
        pool: items that the lists propose; 0 = all allowed items are scored.
        share: of the items that are allowed: 1 / share times as many lists are probed.
        all_lists: whether all of them are.
        scored: proposals, the closest ones, whose products a shard tells at once.
    """

    k: int
    pool: int
    share: float = 1.0
    all_lists: bool = False
    scored: int = 0

    @classmethod
    def of(
        cls,
        config: ApproximateIndexConfig,
        num_items: int,
        k: int,
        allowed: AllowedItems | None,
        *,
        has_lists: bool,
    ) -> Self:
        """The plan of a search in an index of ``num_items``."""
        if not has_lists or (
            allowed is not None and allowed.count <= _most_exact(config, num_items)
        ):
            return cls(k, 0)
        share = 1.0 if allowed is None else min(1.0, max(allowed.count, 1) / num_items)
        return cls(k, _PROPOSED_FACTOR * k + _PROPOSED_EXTRA, share)


@dataclass(frozen=True, slots=True, eq=False)
class FoundItems:
    """Items that a search proposes, in any order; those of lists closest first.

    Args:
        items: (C,) int32 item numbers.
        closeness: (C,) float32 by the four bits of the lists; the products themselves, if all
            allowed items are scored.
        scores: (S,) float32 products of the first S of them.
    """

    items: IntArray
    closeness: FloatArray
    scores: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))

    @classmethod
    def none(cls) -> Self:
        """No items."""
        return cls(NO_ITEMS, np.empty(0, np.float32))

    @classmethod
    def of(cls, parts: Sequence[FoundItems]) -> Self:
        """All items of ranges that share none, without products."""
        items = np.concatenate([part.items for part in parts])
        return cls(items, np.concatenate([part.closeness for part in parts]))

    def bar(self, pool: int) -> float:
        """The least closeness among the ``pool`` closest items; -inf if there are fewer."""
        if pool < 1 or pool > len(self.items):
            return -math.inf
        return float(-np.partition(-self.closeness, pool - 1)[pool - 1])

    def above(self, bar: float) -> FoundItems:
        """Those that are at least so close."""
        is_close = self.closeness >= bar
        scores = self.scores[is_close[: len(self.scores)]]
        return FoundItems(self.items[is_close], self.closeness[is_close], scores)

    @property
    def unscored(self) -> IntArray:
        """(C - S,) the items without a product."""
        return self.items[len(self.scores) :]

    def values(self, scores: FloatArray | None) -> FloatArray:
        """(C,) products; ``scores`` (C - S,) of the items without one, None = by closeness."""
        others = self.closeness[len(self.scores) :] if scores is None else scores
        return np.concatenate([self.scores, others])


def take_best(items: IntArray, scores: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """The k items (C,) with the largest scores (C,), and those, in the order of their numbers.

    Of equal scores the lower numbers are taken.
    """
    order = np.argsort(items, kind="stable")
    items, scores = items[order], scores[order]
    best = _find_first(scores, k)
    return items[best], scores[best]


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

    def propose(
        self,
        query: FloatArray,
        plan: SearchPlan,
        allowed: AllowedItems | None,
        products: FloatArray | None = None,
    ) -> FoundItems:
        """The allowed items among which a query (D,) has its best ones, by a plan.

        Items that the lists find equally close are all there, or none of them.
        """
        if not plan.pool:
            return self._score_all(query, plan.k, allowed, products)
        return self._probe(query, plan, allowed)

    def score(self, query: FloatArray, items: IntArray) -> FloatArray:
        """Products (M,) of a query (D,) and items (M,) that the lists proposed."""
        return dot_items(self.vectors, items, query)

    def _find(
        self, query: FloatArray, k: int, allowed: AllowedItems | None, products: FloatArray | None
    ) -> tuple[IntArray, FloatArray]:
        """Items (C,), ascending, and their products (C,)."""
        plan = SearchPlan.of(self.config, len(self), k, allowed, has_lists=self._lists is not None)
        found = self.propose(query, plan, allowed, products)
        if not plan.pool:
            return take_best(found.items, found.closeness, k)
        if len(found.items) < min(k, len(self) if allowed is None else allowed.count):
            found = self.propose(query, replace(plan, all_lists=True), allowed)
        return take_best(found.items, self.score(query, found.items), k)

    def _score_all(
        self, query: FloatArray, k: int, allowed: AllowedItems | None, products: FloatArray | None
    ) -> FoundItems:
        """Score all allowed items for a query (D,), or look them up in its products (N,)."""
        if allowed is None:
            scores = self._multiply(self.vectors, query) if products is None else products
            best = _find_first(scores, k)
            return FoundItems(best.astype(np.int32), scores[best])
        numbers, vectors = self._allowed_vectors(allowed.shared)  # (M,), (M, D)
        scores = self._multiply(vectors, query) if products is None else products[numbers]
        positions, is_there = locate(numbers, allowed.excluded)
        scores[positions[is_there]] = -np.inf
        best = _find_first(scores, min(k, len(numbers) - int(np.count_nonzero(is_there))))
        return FoundItems(numbers[best], scores[best])

    def _multiply(self, rows: FloatArray, query: FloatArray) -> FloatArray:
        """Products (M,) of rows (M, D) and a query (D,); with lists each rounded alike in any row.

        An index without lists is in no shards, and BLAS is faster.
        """
        products: FloatArray = (
            rows @ query if self._lists is None else np.einsum("nd,d->n", rows, query)
        )
        return products

    def _allowed_vectors(self, items: ItemSet) -> tuple[IntArray, FloatArray]:
        """Numbers (M,) and vectors (M, D) of a set; those of few items are kept with the set."""
        found = self._vectors_of_sets.get(items)
        if found is None:
            numbers = items.numbers[: np.searchsorted(items.numbers, len(self))]
            is_whole = len(numbers) == len(self)
            rows = np.asarray(self.vectors) if is_whole else self.vectors[numbers]
            found = numbers, rows
            most = max(self.config.exact_up_to, _MOST_GATHERED) if items.is_lasting else _FEW
            if is_whole or len(numbers) <= most:
                self._vectors_of_sets[items] = found
        return found

    def _probe(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None
    ) -> FoundItems:
        """The closest items by the four bits of the nearest lists.

        As many as the plan says, and all that are as close as the last of them.
        """
        faiss = load_faiss()
        faiss.omp_set_num_threads(1)
        num_lists = self._lists.nlist
        # 1 / share times as many lists contain the same number of allowed items.
        wanted = num_lists if plan.all_lists else math.ceil(self.num_probes / plan.share)
        selector = None if allowed is None else _select(allowed)
        parameters = faiss.SearchParametersIVF(nprobe=min(num_lists, wanted), sel=selector)
        count, most = plan.pool + _TIES, _MOST_PROPOSED_FACTOR * plan.pool
        while True:
            found = self._lists.search(query[None], count, params=parameters)
            closeness, items = found[0][0], found[1][0]  # (count,), closest first
            bar = closeness[plan.pool - 1]
            if items[-1] < 0 or closeness[-1] < bar or count >= most:
                break
            count = min(2 * count, most)
        is_close = (items >= 0) & (closeness >= bar)
        return FoundItems(items[is_close].astype(np.int32), closeness[is_close])

    def _choose_probes(self, queries: FloatArray) -> int:
        """Smallest power of 2 of probes at which queries (B, D) reach the recall, or all lists."""
        k = min(self.config.k, len(self))
        exact = [set(_find_first(self.vectors @ query, k).tolist()) for query in queries]
        plan, probes = SearchPlan.of(self.config, len(self), k, None, has_lists=True), 1
        while probes < self._lists.nlist:
            tried = ApproximateIndex(self.config, self.vectors, self._lists, probes)
            proposed = [(query, tried.propose(query, plan, None).items) for query in queries]
            found = [take_best(items, self.score(query, items), k)[0] for query, items in proposed]
            hits = [len(top & set(items.tolist())) for top, items in zip(exact, found, strict=True)]
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
        if not has_lists(folder):
            return config, map_array(folder / _VECTORS_FILE)
        return config, open_packed("vectors", open_arrays(folder / _PACKED_FOLDER))


def has_lists(folder: Path) -> bool:
    """Whether an index has an inverted file; else a search compares all of its items."""
    return (folder / INDEX_FILE).exists()


def open_lists(folder: Path) -> Any:
    """The inverted file of an index, read into memory; None if it compares all items.

    Raises:
        ArtefactError: the folder has no readable index.
    """
    with _readable(folder):
        return load_faiss().read_index(str(folder / INDEX_FILE)) if has_lists(folder) else None


def cut_lists(lists: Any, begin: int, end: int) -> Any:
    """The inverted file of the items in [begin, end) of a whole one, which is used up.

    Items are numbered from 0. Centroids, lists and codes stay, so that an item is as close to a
    query as in the whole.
    """
    faiss = load_faiss()
    lists.remove_ids(faiss.IDSelectorNot(faiss.IDSelectorRange(begin, end)))
    kept = faiss.deserialize_index(faiss.serialize_index(lists))  # in as much memory as it needs
    for number in range(kept.nlist):
        if count := kept.invlists.list_size(number):
            numbers = faiss.rev_swig_ptr(kept.invlists.get_ids(number), count)
            numbers -= begin
    return kept


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


def _select(allowed: AllowedItems) -> Any:
    """Allowed items as the lists ask for them."""
    faiss = load_faiss()
    selector = faiss.IDSelectorBitmap(allowed.shared.bits)
    if not len(allowed.excluded):
        return selector
    left_out = faiss.IDSelectorBatch(allowed.excluded.astype(np.int64))
    return faiss.IDSelectorAnd(selector, faiss.IDSelectorNot(left_out))


def _most_exact(config: ApproximateIndexConfig, num_items: int) -> int:
    """Largest number of allowed items that are scored exactly."""
    return max(config.exact_up_to, min(_MOST_GATHERED, num_items // _SELECTIVE))


def _find_first(scores: FloatArray, k: int) -> NDArray[np.intp]:
    """Indices (k,) of the k largest scores (N,), ascending; of equal ones the first; at most N."""
    if k < 1 or k >= len(scores):
        return np.arange(len(scores))[: max(k, 0)]
    least = -np.partition(-scores, k - 1)[k - 1]
    is_best = scores > least
    num_missing = k - int(np.count_nonzero(is_best))
    is_best[np.flatnonzero(scores == least)[:num_missing]] = True
    return np.flatnonzero(is_best)


def _sort(items: IntArray, scores: FloatArray) -> ItemList:
    """Items (C,) by their scores, best first, ties by number."""
    order = np.lexsort((items, -scores))
    return ItemList(items[order], np.asarray(scores[order], np.float32))


def load_faiss() -> Any:
    """Import faiss on first use, untyped: its stubs lack selectors and inverted files."""
    import faiss

    return faiss
