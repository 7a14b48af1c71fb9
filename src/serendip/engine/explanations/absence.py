"""Why an item is not among the items shown: the stage that removed it, or its score.

The request is answered again, stage by stage, and the first stage that the item does not pass is
named. An item that no source proposed is scored all the same, to tell where it would stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from serendip.data import BoolArray, FloatArray, Query
from serendip.engine.answer import Absence, AbsenceKind
from serendip.engine.explanations.translation import choose_language, translate
from serendip.engine.request import Request
from serendip.engine.stages.diversity import DiversityRule
from serendip.engine.stages.exploration import EXPLORED
from serendip.engine.stages.likeness import LIKENESS, MODEL, find_likeness, floor_of
from serendip.engine.stages.pipeline import restrict, score
from serendip.engine.stages.selection import Result, Selector
from serendip.engine.stages.sources import BrowseSource, WordSource
from serendip.engine.stages.sponsored import SPONSORED
from serendip.engine.stages.surface_stages import SurfaceStages
from serendip.engine.stages.surfaces import SurfaceConfig, visible_to
from serendip.engine.state import EngineState

Wording: TypeAlias = tuple[str, str]
"""Why the item is absent, and what would change it."""

STAGES: Mapping[str, Wording] = {
    "seen": (
        "You have chosen or rejected it already",
        "After the time in [repeats], or on a surface without the filter seen",
    ),
    "rejected": (
        "You rejected it",
        "A later like or choice takes the rejection back",
    ),
    "context": (
        "The request is about this item itself",
        "Ask without it",
    ),
    "request": (
        "It fails a filter of the request",
        "Ask without the filter",
    ),
    "relevance filter": (
        "It is probably irrelevant to the request",
        "A higher threshold in [surfaces.{surface}.relevance_filter], or labels that call it "
        "relevant",
    ),
    "min value": (
        "Its score of {score} is too low, or too few items reach the threshold",
        "A lower threshold in [surfaces.{surface}.min_value]",
    ),
    "moved by diversity": (
        "Others of its group are shown, and it waits for them",
        "A larger number most in [surfaces.{surface}.diversity]",
    ),
    EXPLORED: (
        "A place that its score would have had went to a new item",
        "A smaller share in [surfaces.{surface}.exploration]",
    ),
    SPONSORED: (
        "Its place was sold, or only its bid brought it here and it bought no place",
        "A higher bid",
    ),
}

ATTRIBUTE: Wording = (
    "The filter “{stage}” of this surface leaves it out",
    "Another value of the attribute, or [surfaces.{surface}] filters without it",
)

UNLIKE: Wording = (
    "It is no more like the items of the request than any other item",
    "Attributes or words in common, or the surface next, of what is chosen next",
)

UNTIED: Wording = (
    "No source proposed it",
    "Events or words that tie it to the request, or a further source in "
    "[surfaces.{surface}.sources]",
)

UNPROPOSED: Wording = (
    "No source proposed it; with its score of {score} it would be number {place}",
    "In [surfaces.{surface}.sources], a larger quota of one that scores it: {sources}",
)

LENGTH: Wording = (
    "The list ends after {count} items; its score of {score} is below theirs",
    "A longer list (k in [surfaces.{surface}.min_value])",
)

SCORE: Wording = (
    "It is number {place}: its score of {score} is not above {last}, that of the last item shown",
    "A score above {last}, or a list of {place} items or more",
)

ORDER: Wording = (
    "It is number {place} in the order {sort}",
    "A list of {place} items or more, or another order",
)

UNMATCHED: Wording = (
    "It does not have the words of the search, or comes after the {count} items of this order",
    "Other words, more filters or another order",
)


@dataclass(frozen=True, slots=True)
class AbsenceFinder:
    """Finds why an item is not among the first items of one answer.

    Args:
        request: its ``k`` items are shown.
        query: the whole request, including the parts that the surface does not read.
        surface: settings of the surface.
        state: that the answer was computed from.
        result: the answer.
    """

    request: Request
    query: Query
    surface: SurfaceConfig
    state: EngineState
    result: Result

    def find(self, item: int) -> Absence | None:
        """Why an item is absent; None if it is among the items shown."""
        places = np.flatnonzero(self.result.items.item_nums == item)
        if len(places):
            place = int(places[0])
            return self._explain_place(place) if place >= self.request.k else None
        return self._explain_filter(item) or self._explain_removal(item)

    def _explain_filter(self, item: int) -> Absence | None:
        """The filter that an item fails; None if it may be shown."""
        stages, seen = SurfaceStages.of(self.surface), visible_to(self.surface, self.query)
        for stage, left in restrict(self.query, seen, stages, self.state):
            if item not in left:
                return self._absence("filter", stage.name, STAGES.get(stage.name, ATTRIBUTE))
        return None

    def _explain_removal(self, item: int) -> Absence:
        """Why an item that may be shown is not in the list."""
        if self.request.sort and self._is_of_matches:
            return self._absence("order", "", UNMATCHED, count=len(self.result.items))
        selector, _ = score([self.query], self.surface, self.state)
        if item not in selector.candidates.items:
            return self._explain_unproposed(item)
        own = _score_of(item, selector)
        stage = selector.removing_filter(0, item)
        if stage is not None:
            return self._absence("list filter", stage.name, STAGES[stage.name], own)
        if item not in selector.organic_items(0):
            return self._absence("rule", SPONSORED, STAGES[SPONSORED], own)
        return self._absence("length", "", LENGTH, own, count=len(self.result.items))

    @property
    def _is_of_matches(self) -> bool:
        """Whether a list in an order of its own is of what matches, see ``matches.py``."""
        sources = self.surface.sources
        has_words = WordSource.name in sources and bool(self.result.query.text.strip())
        return has_words or BrowseSource.name in sources

    def _explain_unproposed(self, item: int) -> Absence:
        """Where an item that no source proposed would stand."""
        also = [np.array([item], np.int32)]
        selector, _ = score([self.query], self.surface, self.state, also)
        own, sources = _score_of(item, selector), self._scoring_sources(item, selector)
        if self._is_unlike(item, selector):
            return self._absence("candidates", LIKENESS, UNLIKE)
        if not own or not sources:  # ranks are fused, or nothing ties it to the request
            return self._absence("candidates", "", UNTIED)
        place = int((self._scores > own).sum()) + 1
        names = ", ".join(sources)
        return self._absence("candidates", "", UNPROPOSED, own, place=place, sources=names)

    def _is_unlike(self, item: int, selector: Selector) -> bool:
        """Whether the surface is of items that are like others, and the item is not."""
        if find_likeness(self.surface, self.state) is None:
            return False
        (row,) = np.flatnonzero(selector.candidates.items == item).tolist()
        likeness = selector.features[row, self.state.feature_names.index(MODEL)]
        return bool(likeness <= floor_of(self.state))

    def _scoring_sources(self, item: int, selector: Selector) -> list[str]:
        """Sources of the surface whose model gives the item a score above 0."""
        (row,) = np.flatnonzero(selector.candidates.items == item).tolist()
        names = self.state.feature_names
        return [
            source
            for source in self.surface.sources
            if source in names and selector.features[row, names.index(source)] > 0
        ]

    def _explain_place(self, place: int) -> Absence:
        """Why an item that is further down the list is not shown."""
        own = float(self.result.items.scores[place])
        if self.request.sort:
            return self._absence("order", "", ORDER, own, place=place + 1, sort=self.request.sort)
        drawn = [name for name in (EXPLORED, SPONSORED) if self._has(name)[: self.request.k].any()]
        given = sum(int(self._has(name)[: self.request.k].sum()) for name in drawn)
        better = int((self._scores > own).sum())
        if better + given < self.request.k and DiversityRule.name in self.result.trace:
            return self._absence("rule", DiversityRule.name, STAGES[DiversityRule.name], own)
        if better < self.request.k and drawn:
            return self._absence("rule", drawn[0], STAGES[drawn[0]], own)
        return self._absence("score", "", SCORE, own, place=place + 1)

    @property
    def _scores(self) -> FloatArray:
        """Scores of the items that are in the list for their score."""
        drawn = self._has(EXPLORED) | self._has(SPONSORED)
        scores: FloatArray = self.result.items.scores[~drawn]
        return scores

    def _has(self, column: str) -> BoolArray:
        """(P,) whether a rule decided the places of the list."""
        values = self.result.items.fields.get(column)
        if values is None:
            return np.zeros(len(self.result.items), np.bool_)
        return np.nan_to_num(values.astype(np.float32)) > 0

    def _last_score(self) -> float | None:
        """The lowest score of the items that are shown for their score."""
        shown = self.result.items.scores[: self.request.k]
        drawn = (self._has(EXPLORED) | self._has(SPONSORED))[: self.request.k]
        return float(shown[~drawn].min()) if (~drawn).any() else None

    def _absence(
        self,
        kind: AbsenceKind,
        stage: str,
        wording: Wording,
        own: float | None = None,
        **names: str | float,
    ) -> Absence:
        """Word what was found."""
        language, last = choose_language(self.request.language), self._last_score()
        known = {
            "stage": stage,
            "surface": self.request.surface,
            "score": _number(own),
            "last": _number(last),
            **names,
        }
        text, change = (translate(sentence, language, **known) for sentence in wording)
        return Absence(kind, stage, text, change, own, last)


def _score_of(item: int, selector: Selector) -> float:
    """The score of a candidate."""
    return float(selector.scores.organic[selector.candidates.items == item][0])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
