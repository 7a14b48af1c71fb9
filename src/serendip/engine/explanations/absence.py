"""Why an item is not among the items shown: the stage that removed it, or its score.

The request is answered again, stage by stage, and the first stage that the item does not pass is
named. An item that no source proposed is scored all the same, to tell where it would stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from serendip.data import BoolArray, Query
from serendip.engine.explanations.translation import choose_language, translate
from serendip.engine.request import Absence, AbsenceKind, Request
from serendip.engine.stages.filters import NotHidden
from serendip.engine.stages.likeness import LIKENESS, MODEL, floor_of, is_by_likeness
from serendip.engine.stages.list_rules import EXPLORED, PINNED, SPONSORED, DiversityRule
from serendip.engine.stages.pipeline import restrict, score
from serendip.engine.stages.rules import name_rules, rules_of
from serendip.engine.stages.selection import Result, SurfaceStages
from serendip.engine.stages.sources import BrowseSource, WordSource
from serendip.engine.stages.surfaces import SurfaceConfig, visible_to
from serendip.engine.state import EngineState

Wording: TypeAlias = tuple[str, str]  # why the item is absent, and what would change it
STAGES: Mapping[str, Wording] = {
    "seen": (
        "You have chosen or rejected it already",
        "After the time in [repeats], or on a surface without the filter seen",
    ),
    "rejected": (
        "You rejected it",
        "A later like or choice takes the rejection back",
    ),
    "frequency": (
        "You were shown it too often",
        "After the time in [surfaces.{surface}.frequency], or a higher limit there",
    ),
    "context": (
        "The request is about this item itself",
        "Ask without it",
    ),
    "request": (
        "It fails a filter of the request",
        "Ask without the filter",
    ),
    NotHidden.name: (
        "The rule “{rules}” hides it",
        "Change or remove the rule",
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
    PINNED: (
        "Rules pin others before it, or it further down: {rules}",
        "Change or remove the rule",
    ),
    LIKENESS: (
        "It is no more like the items of the request than any other item",
        "Attributes or words in common, or the surface next, of what is chosen next",
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
        stages, seen = SurfaceStages.of(self.surface), visible_to(self.surface, self.query)
        for stage, left in restrict(self.query, seen, stages, self.state):
            if item not in left:
                rules = ", ".join(name_rules(self.query, item, self.state, "hide"))
                return self._absence("filter", stage.name, rules=rules)
        if self.request.sort and self._is_of_matches:
            return self._absence("order", wording=UNMATCHED, count=len(self.result.items))
        selector, _ = score([self.query], self.surface, self.state)
        if item not in selector.candidates.items:
            return self._explain_unproposed(item)
        own = float(selector.scores.organic[selector.candidates.items == item][0])
        removing = selector.removing_filter(0, item)
        if removing is not None:
            return self._absence("list filter", removing.name, own)
        if item not in selector.organic_items(0):
            return self._absence("rule", SPONSORED, own)
        return self._absence("length", "", own, LENGTH, count=len(self.result.items))

    @property
    def _is_of_matches(self) -> bool:
        sources = self.surface.sources  # see ``matches.py``
        has_words = WordSource.name in sources and bool(self.result.query.text.strip())
        return has_words or BrowseSource.name in sources

    def _explain_unproposed(self, item: int) -> Absence:
        also = [np.array([item], np.int32)]
        selector, _ = score([self.query], self.surface, self.state, also)
        (row,) = np.flatnonzero(selector.candidates.items == item).tolist()
        own = float(selector.scores.organic[row])
        features = dict(zip(self.state.feature_names, selector.features[row].tolist(), strict=True))
        is_unlike = features.get(MODEL, 0.0) <= floor_of(self.state)
        if is_unlike and is_by_likeness(self.surface, self.state):
            return self._absence("candidates", LIKENESS)
        sources = [name for name in self.surface.sources if features.get(name, 0.0) > 0]
        if not own or not sources:  # ranks are fused, or nothing ties it to the request
            return self._absence("candidates", wording=UNTIED)
        place, names = self._count_better(own) + 1, ", ".join(sources)
        return self._absence("candidates", "", own, UNPROPOSED, place=place, sources=names)

    def _explain_place(self, place: int) -> Absence:
        own, sort = float(self.result.items.scores[place]), self.request.sort
        if sort:
            return self._absence("order", "", own, ORDER, place=place + 1, sort=sort)
        if self._is_by(PINNED)[place]:
            return self._absence("rule", PINNED, own, rules=self._pins)
        shown = {
            rule: self._is_by(rule)[: self.request.k] for rule in (PINNED, EXPLORED, SPONSORED)
        }
        given, better = sum(int(by.sum()) for by in shown.values()), self._count_better(own)
        if better + given < self.request.k and DiversityRule.name in self.result.trace:
            return self._absence("rule", DiversityRule.name, own)
        if better < self.request.k and given:
            rule = next(rule for rule in shown if shown[rule].any())
            return self._absence("rule", rule, own, rules=self._pins)
        return self._absence("score", "", own, SCORE, place=place + 1)

    def _count_better(self, own: float) -> int:
        scores = self.result.items.scores
        return int((self._is_by_score & (scores > own)).sum())

    @property
    def _pins(self) -> str:
        return ", ".join(rule.rule_id for rule in rules_of(self.query, "pin"))

    @property
    def _is_by_score(self) -> BoolArray:  # (P,)
        is_given = self._is_by(PINNED) | self._is_by(EXPLORED) | self._is_by(SPONSORED)
        is_by_score: BoolArray = ~is_given
        return is_by_score

    def _is_by(self, rule: str) -> BoolArray:  # (P,)
        values = self.result.items.fields.get(rule, np.zeros(len(self.result.items)))
        return np.nan_to_num(values.astype(np.float32)) > 0

    def _absence(
        self,
        kind: AbsenceKind,
        stage: str = "",
        own: float | None = None,
        wording: Wording | None = None,
        **names: str | float,
    ) -> Absence:
        language, k = choose_language(self.request.language), self.request.k
        shown = self.result.items.scores[:k][self._is_by_score[:k]]
        last = float(shown.min()) if len(shown) else None
        known = {"stage": stage, "surface": self.request.surface, **names}
        known |= {"score": _number(own), "last": _number(last)}
        sentences = wording or STAGES.get(stage, ATTRIBUTE)
        text, change = (translate(sentence, language, **known) for sentence in sentences)
        return Absence(kind, stage, text, change, own, last)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
