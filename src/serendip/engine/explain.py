"""Evidence: why an item is shown, each reason as one sentence, from the models' own numbers."""

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
"""Maximum number of votes of one model that become evidence for an item."""

_RECENT = 20
"""Newest items of the history whose semantic IDs are compared."""

_POPULAR_SHARE = 0.2
"""Share of the catalogue that counts as popular."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """Collects evidence for the items of one answer.

    Args:
        state: that the answer was computed from.
        query: the request with the user's history.
        items: (C,) int32 items to explain.
    """

    state: EngineState
    query: Query
    items: IntArray

    def evidence(self, matches: Sequence[float], scores: Sequence[float]) -> list[list[Evidence]]:
        """The evidence for each item, strongest kind first.

        Args:
            matches: (C,) title match of each item in [0, 1]; NaN = the request has no text.
            scores: (C,) BM25 of each item, 0 = it has none of the words; NaN = no text.
        """
        evidence = [self._word_evidence(*pair) for pair in zip(matches, scores, strict=True)]
        if len(self.query.history) or len(self.query.source_items):
            for model in self._voting_models():
                self._add_votes(model, evidence)
        for reasons, item in zip(evidence, self.items.tolist(), strict=True):
            reasons += self._code_evidence(item) + self._popularity_evidence(item)
        return evidence

    def reasons(self, matches: Sequence[float], scores: Sequence[float]) -> list[str]:
        """The strongest evidence for each item as one sentence; empty = no evidence."""
        return [reasons[0].text if reasons else "" for reasons in self.evidence(matches, scores)]

    def _word_evidence(self, match: float, score: float) -> list[Evidence]:
        """How the item fits the text; none for a request without a text."""
        if not self.query.text:
            return []
        if match >= EXACT:
            text = "The title is what you typed"
        elif match >= CORRECTED:
            text = f"Probably meant by “{self.query.text}”"
        else:
            text = f"{'Has words of' if score > 0 else 'Related to'} “{self.query.searched}”"
        return [Evidence("word", text, round(max(match, 0.0) if match == match else 0.0, 3))]

    def _voting_models(self) -> list[Recommender]:
        """Models in the order of their evidence, which is that of the ranker's features."""
        models = self.state.models
        names = [name for kind in SCORED_KINDS for name in models_of_kind(models, kind)]
        return [models[name] for name in names]

    def _add_votes(self, model: Recommender, evidence: list[list[Evidence]]) -> None:
        """Append the evidence of one model to that of each item; nothing if it declares none."""
        rule = model.evidence
        given = None if rule is None else model.compute_votes(self.query, self.items)
        if rule is None or given is None:
            return
        context, votes = given
        for row, reasons in enumerate(evidence):
            if rule.covers_new_items or self.state.counts[self.items[row]]:
                sentences = {reason.text for reason in reasons}
                further = self._vote_evidence(rule, context, votes[:, row])  # votes (T, C)
                reasons += [reason for reason in further if reason.text not in sentences]

    def _vote_evidence(
        self, rule: VoteEvidence, context: IntArray, votes: FloatArray
    ) -> list[Evidence]:
        """The strongest votes of one model for one item as sentences.

        Args:
            rule: how the model's votes are worded.
            context: (T,) int32 items that vote.
            votes: (T,) their votes.
        """
        evidence = []
        shown = np.where(self.state.hidden[context], 0.0, votes)
        for row in np.argsort(-shown, kind="stable")[:_PER_MODEL]:
            if shown[row] > rule.min_vote:
                anchor = self.state.catalogue[int(context[row])]
                text = rule.sentence.format(title=anchor.title or anchor.item_id)
                weight = round(float(votes[row]), 4)
                evidence.append(Evidence(rule.kind, text, weight, anchor.item_id))
        return evidence

    def _code_evidence(self, item: int) -> list[Evidence]:
        """The recent item that shares the longest prefix of the semantic ID; none if none does."""
        query, codes = self.query, self.state.features.codes
        anchors = query.source_items if len(query.source_items) else query.history.item_nums
        anchors = anchors[~self.state.hidden[anchors]][-_RECENT:]
        if not len(anchors):
            return []
        shared = common_prefix(codes[item][None, :], codes[anchors])  # (A,)
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

    def _popularity_evidence(self, item: int) -> list[Evidence]:
        """That the item has no interactions, or is among the most popular; none in between."""
        count = int(self.state.counts[item])
        if count == 0:
            return [Evidence("new", "New here", 0.0)]
        share = (int((self.state.counts > count).sum()) + 1) / self.state.num_items
        text = f"Among the {math.ceil(100 * share)} % most popular, with {count:,} interactions"
        return [Evidence("popular", text, float(count))] if share <= _POPULAR_SHARE else []
