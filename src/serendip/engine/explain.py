"""Why an item: evidence first, told in one sentence each, from the models' own numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from serendip.content.semantic_ids.group_names import group_name
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.query import Query
from serendip.data.semantic_ids import common_prefix
from serendip.engine.answer import Evidence
from serendip.engine.state import EngineState
from serendip.search.understanding import CORRECTED, EXACT


@runtime_checkable
class GivesVotes(Protocol):
    """A model that can say what each item of the context gives to the score of an item."""

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their votes (T, C) for ``item_nums``."""
        ...


_SENTENCES = {
    "transitions": ("transition", "Often chosen next after {title} or its like"),
    "item-knn": ("neighbour", "Chosen by the same people as {title}"),
    "content": ("content", "Similar to {title}"),
}
_LEAST_VOTE = {"content": 0.3}
"""Weaker likeness is no reason that a person would accept."""

_PER_MODEL = 2
_RECENT = 20
_POPULAR_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Explainer:
    """Gathers evidence for the items of one answer.

    Args:
        state: what the answer was made from.
        query: the request, history included.
        items: (C,) int32 the items to be explained.
    """

    state: EngineState
    query: Query
    items: IntArray

    def evidence(self, matches: Sequence[float], scores: Sequence[float]) -> list[list[Evidence]]:
        """All grounds for showing each item, strongest kind first.

        Args:
            matches: per item how well its title matches the text; NaN where there is no text.
            scores: per item its BM25, 0 where it has none of the words; NaN where there is no text.
        """
        found = [self._words(*both) for both in zip(matches, scores, strict=True)]
        has_context = len(self.query.history) or len(self.query.source_items)
        for name, (kind, sentence) in _SENTENCES.items() if has_context else ():
            model = self.state.models.get(name)
            if isinstance(model, GivesVotes):
                context, votes = model.votes(self.query, self.items)
                for place, grounds in enumerate(found):
                    least = _LEAST_VOTE.get(name, 0.0)
                    if kind == "content" or self.state.counts[self.items[place]]:
                        grounds += self._told(kind, sentence, context, votes[:, place], least)
        for grounds, item in zip(found, self.items.tolist(), strict=True):
            grounds += self._code(item) + self._popularity(item)
        return found

    def reasons(self, matches: Sequence[float], scores: Sequence[float]) -> list[str]:
        """The strongest ground of each item as one sentence; empty where there is none."""
        return [grounds[0].text if grounds else "" for grounds in self.evidence(matches, scores)]

    def _words(self, match: float, score: float) -> list[Evidence]:
        if not self.query.text:
            return []
        if match >= EXACT:
            text = "The title is what you typed"
        elif match >= CORRECTED:
            text = f"Probably meant by “{self.query.text}”"
        else:
            text = f"{'Has words of' if score > 0 else 'Related to'} “{self.query.searched}”"
        return [Evidence("word", text, round(max(match, 0.0) if match == match else 0.0, 3))]

    def _told(
        self, kind: str, sentence: str, context: IntArray, votes: FloatArray, least: float
    ) -> list[Evidence]:
        """The strongest votes of one model for one item, in words."""
        told = []
        shown = np.where(self.state.hidden[context], 0.0, votes)
        for row in np.argsort(-shown, kind="stable")[:_PER_MODEL]:
            if shown[row] > least:
                anchor = self.state.catalogue[int(context[row])]
                text = sentence.format(title=anchor.title or anchor.item_id)
                told.append(Evidence(kind, text, round(float(votes[row]), 4), anchor.item_id))
        return told

    def _code(self, item: int) -> list[Evidence]:
        query, codes = self.query, self.state.features.codes
        anchors = query.source_items if len(query.source_items) else query.history.item_nums
        anchors = anchors[~self.state.hidden[anchors]][-_RECENT:]
        if not len(anchors):
            return []
        shared = common_prefix(codes[item][None, :], codes[anchors])
        nearest = int(np.argmax(shared))
        depth = int(shared[nearest])
        if depth == 0:
            return []
        anchor = self.state.catalogue[int(anchors[nearest])]
        name = group_name(self.state.code_names, codes[item][:depth])
        text = f"In the same group as {anchor.title or anchor.item_id}" + (
            f": {name}" if name else ""
        )
        return [Evidence("code", text, float(depth), anchor.item_id)]

    def _popularity(self, item: int) -> list[Evidence]:
        count = int(self.state.counts[item])
        if count == 0:
            return [Evidence("new", "New here", 0.0)]
        place = (int((self.state.counts > count).sum()) + 1) / self.state.num_items
        text = f"Among the {math.ceil(100 * place)} % most popular, with {count:,} interactions"
        return [Evidence("popular", text, float(count))] if place <= _POPULAR_SHARE else []
