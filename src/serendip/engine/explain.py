"""Why an item: evidence first, told in one sentence each, from the models' own numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from serendip.data.query import Query
from serendip.data.semantic_ids import common_prefix
from serendip.engine.answer import Evidence
from serendip.engine.state import EngineState


@runtime_checkable
class GivesEvidence(Protocol):
    """A model that can name the items of the context which speak for an item."""

    def evidence(self, query: Query, item_num: int, limit: int) -> list[tuple[int, float]]:
        """(item number, weight), strongest first."""
        ...


_SENTENCES = {
    "transitions": ("transition", "Often chosen next after {title}"),
    "item-knn": ("neighbour", "Chosen by the same people as {title}"),
    "content": ("content", "Similar to {title}"),
}
_LEAST_COSINE = 0.3
"""Weaker likeness is no reason that a person would accept."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """Gathers evidence for items of one state."""

    state: EngineState

    def evidence(self, query: Query, item: int, match: float = float("nan")) -> list[Evidence]:
        """All grounds for showing ``item``, strongest kind first.

        Args:
            query: the request, history included.
            item: the item number.
            match: how well its title matches the text; NaN where there is no text.
        """
        found = self._words(query, match)
        for model in _SENTENCES:
            found += self._from_model(model, query, item)
        return found + self._code(query, item) + self._popularity(item)

    def reason(self, query: Query, item: int, match: float = float("nan")) -> str:
        """The strongest ground as one sentence."""
        found = self.evidence(query, item, match)
        return found[0].text if found else ""

    def _words(self, query: Query, match: float) -> list[Evidence]:
        if not query.text or not match > 0:
            return []
        exact = match >= 1.0
        text = "The title is what you typed" if exact else f"Matches “{query.text}”"
        return [Evidence("word", text, round(float(match), 3))]

    def _from_model(self, name: str, query: Query, item: int) -> list[Evidence]:
        model = self.state.models.get(name)
        if not isinstance(model, GivesEvidence):
            return []
        kind, sentence = _SENTENCES[name]
        result = []
        for other, weight in model.evidence(query, item, 2):
            if kind == "content" and weight < _LEAST_COSINE:
                continue
            anchor = self.state.catalogue[other]
            text = sentence.format(title=anchor.title or anchor.item_id)
            result.append(Evidence(kind, text, round(weight, 4), anchor.item_id))
        return result

    def _code(self, query: Query, item: int) -> list[Evidence]:
        anchors = query.source_items if len(query.source_items) else query.history.item_nums[-20:]
        if not len(anchors):
            return []
        codes = self.state.features.codes
        shared = common_prefix(codes[item][None, :], codes[anchors])
        nearest = int(np.argmax(shared))
        depth = int(shared[nearest])
        if depth == 0:
            return []
        name = self.name_of(item, depth)
        title = self.state.catalogue[int(anchors[nearest])].title
        text = f"In the same group as {title}" + (f": {name}" if name else "")
        anchor = self.state.catalogue[int(anchors[nearest])].item_id
        return [Evidence("code", text, float(depth), anchor)]

    def _popularity(self, item: int) -> list[Evidence]:
        count = int(self.state.counts[item])
        if count == 0:
            return [Evidence("new", "New here", 0.0)]
        higher = float((self.state.counts > count).mean())
        share = max(1, round(100 * higher))
        text = f"Among the {share} % most popular, with {count:,} interactions"
        return [Evidence("popular", text, float(count))] if higher <= 0.2 else []

    def name_of(self, item: int, depth: int = 2) -> str:
        """Readable name of the first ``depth`` codes of an item; shorter prefixes as fallback."""
        codes = [str(int(code)) for code in self.state.features.codes[item]]
        for levels in range(min(depth, len(codes)), 0, -1):
            name = self.state.code_names.get("-".join(codes[:levels]), "")
            if name:
                return name
        return ""
