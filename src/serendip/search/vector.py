"""Exact cosine search over unit vectors, with posted vectors beside the built matrix.

The built matrix may be a memory map and is never copied; posting an item copies only the vectors
posted before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.item_list import ItemList
from serendip.data.top_k import top_k
from serendip.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class VectorIndex:
    """Vectors by item number.

    Args:
        built: (N, D) float32 unit vectors; a zero vector is similar to nothing.
        posted: (P, D) float32, items N..N+P-1.
        changed: item number -> (D,) vector that replaces the built one.
    """

    built: FloatArray
    posted: FloatArray
    changed: Mapping[int, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(cls, vectors: FloatArray) -> VectorIndex:
        """Index (N, D) vectors as they are; D = 0 means that there are none to compare.

        Raises:
            DataError: not two-dimensional.
        """
        if vectors.ndim != 2:
            raise DataError(f"vectors of shape {vectors.shape} are not (items, size).")
        return cls(vectors, np.empty((0, vectors.shape[1]), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.built) + len(self.posted)

    def with_vectors(self, vectors: FloatArray) -> VectorIndex:
        """A copy with (P, D) more vectors at the end.

        Raises:
            DataError: D differs.
        """
        self._check(vectors)
        posted = np.concatenate([self.posted, vectors.astype(np.float32)])
        return replace(self, posted=posted)

    def with_changed_vectors(self, item_nums: Sequence[int], vectors: FloatArray) -> VectorIndex:
        """A copy where these items have other vectors (P, D).

        Raises:
            DataError: D differs.
        """
        self._check(vectors)
        posted, changed = self.posted.copy(), dict(self.changed)
        for number, vector in zip(item_nums, vectors, strict=True):
            if number < len(self.built):
                changed[int(number)] = vector.astype(np.float32)
            else:
                posted[number - len(self.built)] = vector
        return replace(self, posted=posted, changed=changed)

    def cosines(self, vector: FloatArray) -> FloatArray:
        """Cosine (N+P,) of every item with a unit vector (D,); 0 where one is not finite.

        Raises:
            DataError: D differs.
        """
        if vector.shape != (self.built.shape[1],):
            raise DataError(
                f"a query vector of shape {vector.shape} does not fit vectors of size "
                f"{self.built.shape[1]}."
            )
        query = vector.astype(np.float32)
        cosines = np.concatenate([self.built @ query, self.posted @ query])
        if self.changed:
            cosines[list(self.changed)] = np.stack(list(self.changed.values())) @ query
        return np.asarray(np.nan_to_num(cosines, copy=False, posinf=0.0, neginf=0.0), np.float32)

    def search(self, vector: FloatArray, k: int, allowed: BoolArray | None = None) -> ItemList:
        """The k most similar items; ``allowed`` is (N+P,) bool by item number, None = all."""
        return best_cosines(self.cosines(vector), k, allowed)

    def _check(self, vectors: FloatArray) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != self.built.shape[1]:
            raise DataError(
                f"vectors of shape {vectors.shape} do not fit an index of size "
                f"{self.built.shape[1]}.",
                "Encode them with the encoder of this generation.",
            )


def best_cosines(cosines: FloatArray, k: int, allowed: BoolArray | None = None) -> ItemList:
    """The k largest of (N,) cosines, ties in the fixed order; k below 1 gives none."""
    if k < 1:
        return ItemList()
    if allowed is not None:
        cosines = np.where(allowed, cosines, -np.inf).astype(np.float32)
    return top_k(cosines, k)
