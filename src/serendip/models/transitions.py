"""Item-to-item transition graph, smoothed by content. Counted, not trained.

``M[i, j]`` is the sum of 1 / gap over all events with j that follow an event with i ``gap``
positions later in a history, times the strength of that event (``[actions] strengths``), plus half
of that for the other direction, divided by sqrt(row sum + 1) and sqrt(column sum + 1), which
reduces popularity bias; only the ``max_steps`` largest entries of a row are kept. The score is
``h (M + w P M)``: ``h`` the decayed history and ``P`` the weights of the nearest items by content,
through which an item with few transitions uses those of similar items. Items without incoming
transitions get the weighted scores of their content neighbours, ``w P``, in the same way.

All of it is one sparse graph: row i holds the scores of a context of item i alone, the largest of
them, so that a request adds up a few rows. Items that came after the training have none: what they
are like says the model ``content``.

Shapes: N items.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from serendip.config import INTERNAL, Config
from serendip.data.dataset import Dataset
from serendip.models.base import VoteEvidence
from serendip.models.item_to_item import ItemToItem
from serendip.models.linalg import Sparse, multiply_top, to_csr
from serendip.models.sparse.content_neighbours import find_content_neighbours
from serendip.models.sparse.packed_sparse import PackedSparse, blocks_of
from serendip.models.sparse.pair_counts import PairCounter
from serendip.runtime.progress import TrainOptions

_MAX_STEPS = 500
"""Items to which an item has stored transitions: those with the largest weights."""

_BACKWARD_WEIGHT = 0.5
"""Weight of a transition backwards in time, relative to a forward one."""


class TransitionsConfig(Config):
    """Transition counts and their smoothing by content."""

    mode: Annotated[Literal["plain", "spread"], INTERNAL] = "spread"
    """``spread`` smooths transitions over content neighbours; without content features it is the
    same as ``plain``."""

    num_gaps: Annotated[int, INTERNAL] = Field(default=10, ge=1)
    """Largest distance of two events in a history that counts as a transition."""

    decay: Annotated[float, INTERNAL] = Field(default=0.8, gt=0, le=1)
    """Weight of an event relative to the next one."""

    num_neighbours: Annotated[int, INTERNAL] = Field(default=20, ge=1)
    """Content neighbours per item whose transitions it uses."""

    spread_weight: Annotated[float, INTERNAL] = Field(default=1.0, ge=0)
    """w, weight of the neighbours' transitions relative to the item's."""

    max_targets: Annotated[int, INTERNAL] = Field(default=200, ge=1)
    """Items with a score for a context of one item, neighbours' transitions included; those with
    the largest scores. Ignored in mode ``plain``."""


class Transitions(ItemToItem):
    """Score of j = weighted transitions to j from items of the context and their neighbours."""

    name = "transitions"
    config_class = TransitionsConfig
    evidence = VoteEvidence(
        "transition",
        "Chosen next after {title} or its like",
        korean="‘{title}’{title:이나/나} 비슷한 항목 다음에 선택되었습니다",
    )
    config: TransitionsConfig

    def _fit_similarities(self, dataset: Dataset, options: TrainOptions) -> Sparse | PackedSparse:
        steps = self._count_steps(dataset, options)
        if dataset.features is None or self.config.mode == "plain":
            return steps
        from scipy.sparse import eye_array

        content = dataset.features.content  # (N, E)
        everything = np.arange(dataset.num_items, dtype=np.int32)
        count, weight = self.config.num_neighbours, self.config.spread_weight
        lent = weight * find_content_neighbours(content, everything, content, count)  # (N, N)
        itself = to_csr(eye_array(dataset.num_items))
        sources, reach = (to_csr(itself + more) for more in (lent, _lending(steps, lent)))  # (N, N)
        most = self.config.max_targets
        blocks = (
            multiply_top(multiply_top(to_csr(sources[rows]), steps, most), reach, most)
            for rows in blocks_of(len(everything))
        )
        return PackedSparse.stack(blocks, steps.shape[1])

    def _count_steps(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        """M (N, N), the largest entries of each row."""
        config, log = self.config, dataset.events
        weights = (1.0 / np.arange(1, config.num_gaps + 1)).astype(np.float32)  # (G,)
        backward = _BACKWARD_WEIGHT * weights
        counter = PairCounter(
            log.users, log.items, dataset.num_items, weights, backward, log.strengths
        )
        rows, columns = (1.0 / np.sqrt(sums + 1.0) for sums in counter.sums())  # (N,) each
        return counter.count_top(rows, columns, _MAX_STEPS, options)


def _lending(steps: Sparse, lent: Sparse) -> Sparse:
    """(N, N): row n has the items without incoming steps that n lends its own to.

    Weights of the neighbours of each item are ``lent`` (N, N).
    """
    reached = np.bincount(steps.indices, minlength=steps.shape[1]) > 0  # (N,)
    pairs = lent.tocoo()
    borrows = ~reached[pairs.row]
    cells = pairs.data[borrows], (pairs.col[borrows], pairs.row[borrows])
    return to_csr(cells, steps.shape)
