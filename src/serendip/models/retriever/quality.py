"""Quality vector: query-independent item quality as extra dimensions of the retriever's index.

``score = u . z(i) + w . quality(i)``: quality is appended to item vectors and one constant weight
vector w to every request vector, so that retrieval itself prefers good items. All columns have the
same weight, the largest one that costs the validation requests of no task more than a given share
of their nDCG@10. Trained with the network weights would overfit to popularity.

Source: Jha et al. 2023, "Unified Embedding Based Personalized Retrieval in Etsy Search",
arXiv:2306.04833, which optimises a weight of each column.

Shapes: N items, Q columns of quality.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.artefact import Artefact
from serendip.data.items.quality import UNKNOWN
from serendip.data.rows.row_array import dot_rows, put_rows


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
