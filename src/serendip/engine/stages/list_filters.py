"""List filters: irrelevant items leave the list, variants wait, and a message has good items only.

**Relevance filter**. A list with one item that has nothing to do with the request costs more than a
shorter list. The relevance model (``serendip judge distil``) predicts P(irrelevant) of a request
and an item. The text of a request is the searched text (typed, or corrected), else the title of the
item that the request is about, else that of the newest item in the user's history; without any of
them nothing is filtered. A model that knows users also reads what they chose before, and where they
are.

What leaves the first positions (ten, or the fewer of a message) is replaced by the items of the
whole list that are least probably irrelevant, and not by those that happen to be next: what moves
up must be better than what went.

A surface without a threshold of its own has the filter wherever labels have proven one for its
lists, and no filter otherwise: labels of typed texts for the surfaces that answer these, labels of
its own lists for any other.

**Minimum value**. A page that a person opened shows the best items there are. A message arrives
uninvited, so it holds only items of at least a minimum value, and is not sent if too few items
reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, PrivateAttr, model_validator

from serendip.config import INTERNAL, Config
from serendip.data import BoolArray, FloatArray, IntArray, Query
from serendip.engine.stages.base import FIRST, Kept, ListFilter, OrderedCandidates
from serendip.engine.state import TYPED_TEXTS, EngineState
from serendip.models.relevance.features import COUNTRY, RequestUser
from serendip.models.relevance.model import RelevanceModel
from serendip.search.variants import UNTITLED

SENT = "sent"
"""Trace key: length of the list that is sent."""


class MinValueConfig(Config):
    """``[surfaces.<name>.min_value]``."""

    k: PositiveInt = 5
    """Maximum length of the list."""

    min_items: PositiveInt = 3
    """Minimum number of items that reach the threshold; below it nothing is sent."""

    threshold: float = 0.25
    """Minimum organic value of an item. On surfaces whose task the ranker does not order, a value
    is a sum over ranks of at most about .02 for each source."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.min_items > self.k:
            raise ValueError(f"no list of at most k = {self.k} has min_items = {self.min_items}")
        return self


class MinValueFilter(ListFilter):
    """Removes items below a minimum value, and all items if too few reach it."""

    name, label = "min value", "Good enough to be sent"
    counts: ClassVar[Mapping[str, str]] = {SENT: "The best of them, to be sent"}

    def __init__(self, config: MinValueConfig) -> None:
        self._config = config

    def keep(self, ordered: OrderedCandidates) -> Kept:
        """Candidates of at least the threshold; only organic ones count towards ``min_items``.

        What a rule pins stays in a list that is sent.
        """
        is_good: BoolArray = ordered.values >= self._config.threshold
        if (is_good & ordered.is_organic).sum() < self._config.min_items:
            is_good = is_good & False
        elif ordered.is_pinned.any():
            is_good |= ordered.is_pinned
        return Kept(np.flatnonzero(is_good), max_items=self._config.k)


P_IRRELEVANT = "P(irrelevant)"
"""Column of the predicted probability, in [0, 1]; NaN = not predicted."""

CHECKED = "relevance checked"
"""Trace key: number of candidates with a prediction."""


_DEPTH = 200
"""Best candidates that are checked; the ones behind them are not shown."""


def count_places(min_value: MinValueConfig | None) -> int:
    """First positions that the guarantee of a threshold covers: a message may have fewer."""
    return FIRST if min_value is None else min(FIRST, min_value.k)


class RelevanceFilterConfig(Config):
    """``[surfaces.<name>.relevance_filter]``."""

    enabled: bool = True
    """Whether the surface may have the filter."""

    threshold: float | None = Field(default=None, gt=0, le=1)
    """Items with P(irrelevant) of at least this are removed. None = the threshold for which
    ``serendip judge distil`` could prove its guarantee; the surface has no filter if there is
    none."""

    labels: Annotated[str, INTERNAL] = ""
    """Surface whose labels the filter has learned from: ``search`` = labels of typed texts. Empty =
    these where the surface answers typed texts, else those of its own lists. A surface that names a
    threshold and has no labels is filtered by those of typed texts."""

    _surface: str = PrivateAttr(default="")

    @property
    def surface(self) -> str:
        """Name of the surface; empty = the table stands for itself."""
        return self._surface

    def with_surface(self, name: str, labels: str) -> RelevanceFilterConfig:
        """A copy that knows its surface, and whose labels it learns from if it names none."""
        copy = self.model_copy(update={"labels": self.labels or labels})
        copy._surface = name
        return copy


class RelevanceFilter(ListFilter):
    """Removes candidates that the relevance model predicts to be irrelevant.

    It comes before the minimum value of a message, which counts what is left; only items that reach
    that value take places.

    Args:
        config: its settings.
        min_value: of the same surface, if it has one.
    """

    name, label = "relevance filter", "Left without irrelevant items"
    counts: ClassVar[Mapping[str, str]] = {CHECKED: "Checked for relevance"}
    numbers: ClassVar[Mapping[str, str]] = {P_IRRELEVANT: "Probability of being irrelevant"}
    failure_label = "the check for relevance"

    def __init__(
        self, config: RelevanceFilterConfig, min_value: MinValueConfig | None = None
    ) -> None:
        self._config, self._places = config, count_places(min_value)
        self._least_value = -np.inf if min_value is None else min_value.threshold

    def is_on(self, state: EngineState) -> bool:
        """Whether the settings name a threshold, or the labels prove one."""
        return self._config.enabled and self.threshold(state) < np.inf

    def model(self, state: EngineState) -> RelevanceModel | None:
        """The model of the surface's labels; that of typed texts, if there is none and the settings
        name a threshold.
        """
        own = state.relevance_models.get(self._config.labels)
        if own is None and self._config.threshold is not None:
            return state.relevance_models.get(TYPED_TEXTS)
        return own

    def threshold(self, state: EngineState) -> float:
        """The smallest probability that is removed; infinite = none is.

        One model serves several surfaces, so a threshold that its labels prove counts only where
        the training has decided for it.
        """
        if self._config.threshold is not None:
            return self._config.threshold
        if self.model(state) is None:
            return np.inf
        return state.relevance_thresholds.get(self._config.surface, np.inf)

    def is_ready(self, state: EngineState) -> bool:
        """Whether the generation has a relevance model."""
        return self.model(state) is not None

    def predict(self, state: EngineState, query: Query, items: IntArray) -> FloatArray | None:
        """(P,) P(irrelevant) of items, NaN = not predicted; None if the request has no text."""
        model = self.model(state)
        words = None if model is None else _query_words(model, state, query)
        if model is None or words is None:
            return None
        return model.probabilities(*words, items, read_user(query))

    def keep(self, ordered: OrderedCandidates) -> Kept:
        """Candidates below the threshold; exact titles always stay."""
        items = ordered.items
        found = self.predict(ordered.state, ordered.query, items[:_DEPTH])
        if found is None:
            return Kept(np.arange(len(items)), counts={CHECKED: 0})
        probabilities = np.full(len(items), np.nan, np.float32)
        probabilities[:_DEPTH] = found
        is_irrelevant = probabilities >= self.threshold(ordered.state)
        kept = ((np.arange(len(items)) < _DEPTH) & ~is_irrelevant) | ordered.is_pinned
        takes_place = ordered.is_organic & (ordered.values >= self._least_value)
        rows = move_up(kept, probabilities, takes_place, ordered.is_pinned, self._places)
        num_checked = int(np.isfinite(probabilities).sum())
        return Kept(rows, {P_IRRELEVANT: probabilities}, {CHECKED: num_checked})


def move_up(
    kept: BoolArray,
    probabilities: FloatArray,
    takes_place: BoolArray,
    is_pinned: BoolArray,
    places: int = FIRST,
) -> NDArray[np.intp]:
    """Rows that stay, best first: what left the first positions is replaced by the surest rows.

    Rows that move up keep their order among themselves.

    Args:
        kept: (R,) rows that stay, of candidates in order.
        probabilities: (R,) P(irrelevant); NaN = unknown, which never moves a row up.
        takes_place: (R,) rows that take positions by themselves.
        is_pinned: (R,) rows that have the first positions.
        places: first positions.
    """
    is_first = np.cumsum(takes_place) <= max(places, int(is_pinned.sum()))
    missing = int((is_first & takes_place & ~kept).sum())
    rows = np.flatnonzero(kept)
    if not missing:
        return rows
    behind = rows[~is_first[rows]]
    able = behind[takes_place[behind] & np.isfinite(probabilities[behind])]
    surest = able[np.argsort(probabilities[able], kind="stable")[:missing]]
    rest = behind[~np.isin(behind, surest)]
    return np.concatenate([rows[is_first[rows]], np.sort(surest), rest])


def read_user(query: Query) -> RequestUser:
    """What a request has of its user."""
    attributes = dict(query.user_groups)
    if query.country:
        attributes[COUNTRY] = query.country
    return RequestUser(query.history.item_nums, attributes)


def _query_words(
    model: RelevanceModel, state: EngineState, query: Query
) -> tuple[str, FloatArray] | None:
    """Text that a request stands for, and its vector; None if the request has none."""
    # Fused vectors change with every training; the model has learned those of the encoder.
    vector = query.encoded_text if state.fusion.blocks else query.text_vector
    if query.searched.strip() and vector is not None:
        return query.searched, vector
    anchors = [*query.source_items[-1:].tolist(), *query.history.item_nums[-1:].tolist()]
    if not anchors or not model.is_current(anchors[0]):
        return None
    return state.catalogue[anchors[0]].title, model.title_vector(anchors[0])


class VariantFilter(ListFilter):
    """Moves items behind the others of which a variant comes before them; removes none."""

    name, label = "variants", "With variants of one item behind the others"

    def keep(self, ordered: OrderedCandidates) -> Kept:
        """All candidates: the first of each item and its variants, then the others."""
        numbers = ordered.state.variants[ordered.items]
        is_first = numbers == UNTITLED
        is_first[np.unique(numbers, return_index=True)[1]] = True
        return Kept(np.concatenate([np.flatnonzero(is_first), np.flatnonzero(~is_first)]))
