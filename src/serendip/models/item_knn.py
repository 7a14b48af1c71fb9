"""People who had this also had that: item-based collaborative filtering.

Similarity of two items = cosine of their user sets with a shrunken denominator, so that two items
that share their only user are not taken for twins. Item-based neighbourhoods follow Deshpande &
Karypis 2004, "Item-based top-N recommendation algorithms"; different here: the events of a history
lose weight with age and likes weigh more.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from serendip.data.dataset import Dataset
from serendip.models.item_to_item import ItemToItem, ItemToItemConfig, seen_matrix
from serendip.models.neighbours import top_of_rows
from serendip.models.sparse import Sparse, csr, stacked
from serendip.scale.options import TrainOptions

_ROWS_AT_ONCE = 1024


class ItemKNNConfig(ItemToItemConfig):
    """How items are compared and how a history votes."""

    shrinkage: float = Field(default=10.0, ge=0)
    """Added to the denominator of the cosine, in users."""


class ItemKNN(ItemToItem):
    """Similarity of i and j = shrunken cosine of the sets of users who had them."""

    name = "item-knn"
    config_class = ItemKNNConfig
    config: ItemKNNConfig

    def _compare(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        seen = seen_matrix(dataset)
        users = csr(seen.T)
        norms = np.sqrt(np.diff(users.indptr).astype(np.float32))
        starts = range(0, dataset.num_items, _ROWS_AT_ONCE)
        blocks = []
        for begin in options.progress.track(starts, "Comparing items", len(starts)):
            rows = slice(begin, begin + _ROWS_AT_ONCE)
            shared = (users[rows] @ seen).toarray()
            own = np.arange(len(shared))
            shared[own, begin + own] = 0.0
            denominator = norms[rows, None] * norms[None, :] + self.config.shrinkage
            # Items without users share nothing with anybody: 0 / max(0, tiny) = 0.
            cosines = shared / np.maximum(denominator, np.finfo(np.float32).tiny)
            blocks.append(top_of_rows(cosines, self.config.num_neighbours))
        return stacked(blocks, dataset.num_items)
