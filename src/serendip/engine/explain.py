"""Why an item: evidence first, told in one sentence each, from the models' own numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.content.semantic_ids.group_names import build_group_name
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.query import Query
from serendip.data.semantic_ids import common_prefix
from serendip.engine.answer import Evidence
from serendip.engine.feature_names import SCORED_KINDS, models_of_kind
from serendip.engine.state import EngineState
from serendip.models.base import Recommender, VoteEvidence
from serendip.search.understanding import CORRECTED, EXACT

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
        if len(self.query.history) or len(self.query.source_items):
            for model in self._models():
                self._add_votes(model, found)
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

    def _models(self) -> list[Recommender]:
        """Models in the order in which their evidence is told, that of the ranker's features."""
        models = self.state.models
        names = [name for kind in SCORED_KINDS for name in models_of_kind(models, kind)]
        return [models[name] for name in names]

    def _add_votes(self, model: Recommender, found: list[list[Evidence]]) -> None:
        """Append the evidence of one model, where it declares any, to that of each item."""
        rule = model.evidence
        given = None if rule is None else model.compute_votes(self.query, self.items)
        if rule is None or given is None:
            return
        context, votes = given
        for place, grounds in enumerate(found):
            if rule.covers_new_items or self.state.counts[self.items[place]]:
                told = {one.text for one in grounds}
                more = self._word_votes(rule, context, votes[:, place])
                grounds += [one for one in more if one.text not in told]

    def _word_votes(
        self, rule: VoteEvidence, context: IntArray, votes: FloatArray
    ) -> list[Evidence]:
        """The strongest votes of one model for one item, in words."""
        evidence = []
        shown = np.where(self.state.hidden[context], 0.0, votes)
        for row in np.argsort(-shown, kind="stable")[:_PER_MODEL]:
            if shown[row] > rule.min_vote:
                anchor = self.state.catalogue[int(context[row])]
                text = rule.sentence.format(title=anchor.title or anchor.item_id)
                weight = round(float(votes[row]), 4)
                evidence.append(Evidence(rule.kind, text, weight, anchor.item_id))
        return evidence

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
        name = build_group_name(self.state.code_names, codes[item][:depth])
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
