"""Sparse rows of a generation, packed and memory-mapped, and those of late items beside them.

The columns stay those of the generation; ``data.rows.row_array`` has the rule.

Shapes: N0 rows of the generation, N rows, C columns, M rows that are read, L late rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, locate
from serendip.data.artefact import Artefact
from serendip.data.rows.row_array import merge_numbers
from serendip.models.linalg import Sparse, stack_rows, to_csr
from serendip.models.sparse.packed_sparse import PackedSparse


@dataclass(frozen=True, slots=True, eq=False)
class LateSparse(Artefact):
    """An immutable sparse matrix (N, C) of base rows and late rows, which go before.

    Args:
        base: (N0, C) packed.
        numbers: (L,) int32 of the late rows, ascending.
        late: (L, C) CSR.
    """

    base: PackedSparse
    numbers: IntArray
    late: Sparse

    @classmethod
    def of(cls, base: Sparse | PackedSparse) -> Self:
        """The rows of a matrix."""
        return cls(PackedSparse.of(base), NO_ITEMS, to_csr((0, base.shape[1])))

    def stored(self) -> dict[str, Any]:
        """The rows of the generation."""
        return {"base": self.base}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        return cls.of(values["base"])

    def put(self, numbers: IntArray, rows: Sparse) -> LateSparse:
        """A copy with other rows (M, C) of the numbers (M,), see ``LateRows.put``."""
        merged, places = merge_numbers(self.numbers, numbers)
        late = stack_rows([self.late, rows], self.base.num_columns)[places]
        return replace(self, late=late, numbers=merged)

    def take(self, numbers: NDArray[np.integer]) -> Sparse:
        """Rows (M, C) of the numbers (M,), in their order."""
        places, is_late = locate(self.numbers, numbers)
        if not is_late.any():
            return self.base[numbers]
        parts = [self.base[numbers[~is_late]], self.late[places[is_late]]]
        order = np.argsort(np.argsort(is_late, kind="stable"))
        return stack_rows(parts, self.base.num_columns)[order]

    def dot(self, numbers: IntArray, vector: FloatArray) -> FloatArray:
        """Products (M,) of the rows of the numbers (M,) and a vector (C,)."""
        places, is_late = locate(self.numbers, numbers)
        products = np.empty(len(numbers), np.float32)
        products[~is_late] = self.base.dot(numbers[~is_late], vector)
        if is_late.any():
            products[is_late] = self.late[places[is_late]] @ vector
        return products

    def whole(self) -> Sparse:
        """All rows (N, C)."""
        end = int(self.numbers[-1]) + 1 if len(self.numbers) else 0
        return self.take(np.arange(max(self.base.shape[0], end)))
