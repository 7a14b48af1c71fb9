"""Relevance filter: irrelevant items leave the list and the next ones move up.

A list with one item that has nothing to do with the request costs more than a shorter list. The
relevance model (``serendip judge distil``) predicts P(irrelevant) of a query and an item. The query
is the searched text (typed, or corrected), else the title of the item that the request is about,
else that of the newest item in the user's history; without any of them nothing is filtered.

A surface without a threshold of its own has the filter wherever the labels have proven one for its
lists, and no filter otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveInt

from serendip.config import Config
from serendip.data.arrays import FloatArray
from serendip.data.query import Query
from serendip.engine.stages.base import Kept, ListFilter, OrderedCandidates
from serendip.engine.state import EngineState
from serendip.models.relevance.model import RelevanceModel

P_IRRELEVANT = "P(irrelevant)"
"""Column of the predicted probability, in [0, 1]; NaN = not predicted."""

CHECKED = "relevance checked"
"""Trace key: number of candidates with a prediction."""


class RelevanceFilterConfig(Config):
    """``[surfaces.<name>.relevance_filter]``."""

    renamed: ClassVar[Mapping[str, str]] = {"cut": "threshold"}

    enabled: bool = True
    """Whether the surface may have the filter."""

    threshold: float | None = Field(default=None, gt=0, le=1)
    """Items with P(irrelevant) of at least this are removed. None = the threshold for which
    ``serendip judge distil`` could prove its guarantee; the surface has no filter if there is none,
    or if it does not answer typed texts, which the labels are about."""

    depth: PositiveInt = 200
    """Number of best candidates that are checked; the ones behind them are not shown."""


class RelevanceFilter(ListFilter):
    """Removes candidates that the relevance model predicts to be irrelevant."""

    name, label = "relevance filter", "Left without irrelevant items"
    counts: ClassVar[Mapping[str, str]] = {CHECKED: "Checked for relevance"}
    numbers: ClassVar[Mapping[str, str]] = {P_IRRELEVANT: "Probability of being irrelevant"}
    failure_label = "the check for relevance"

    def __init__(self, config: RelevanceFilterConfig, reads_text: bool) -> None:
        self._config, self._reads_text = config, reads_text

    def is_on(self, state: EngineState) -> bool:
        """Whether the settings name a threshold, or the labels prove one."""
        if not self._config.enabled:
            return False
        return self._config.threshold is not None or self.threshold(state.relevance_model) < np.inf

    def threshold(self, model: RelevanceModel | None) -> float:
        """The smallest probability that is removed; infinite = none is."""
        if self._config.threshold is not None:
            return self._config.threshold
        proven = None if model is None or not self._reads_text else model.threshold
        return np.inf if proven is None else proven

    def is_ready(self, state: EngineState) -> bool:
        """Whether the generation has a relevance model."""
        return state.relevance_model is not None

    def keep(self, ordered: OrderedCandidates) -> Kept:
        """Candidates below the threshold; exact titles always stay."""
        items, depth = ordered.items, self._config.depth
        model = ordered.state.relevance_model
        query = None if model is None else query_words(model, ordered.state, ordered.query)
        if model is None or query is None:
            return Kept(np.ones(len(items), np.bool_), counts={CHECKED: 0})
        probabilities = np.full(len(items), np.nan, np.float32)
        probabilities[:depth] = model.probabilities(*query, items[:depth])
        is_irrelevant = probabilities >= self.threshold(model)
        kept = (np.arange(len(items)) < depth) & ~is_irrelevant
        return Kept(
            kept | ordered.is_pinned,
            {P_IRRELEVANT: probabilities},
            {CHECKED: int(np.isfinite(probabilities).sum())},
        )


def query_words(
    model: RelevanceModel, state: EngineState, query: Query
) -> tuple[str, FloatArray] | None:
    """Text that a request stands for, and its vector; None if the request has none."""
    if query.searched.strip() and query.text_vector is not None:
        return query.searched, query.text_vector
    anchors = [*query.source_items[-1:].tolist(), *query.history.item_nums[-1:].tolist()]
    if not anchors or not model.is_current(anchors[0]):
        return None
    return state.catalogue[anchors[0]].title, model.title_vector(anchors[0])
