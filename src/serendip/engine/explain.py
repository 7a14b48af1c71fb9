"""Evidence: why an item is shown, each reason as one sentence, from the models' own numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.content.semantic_ids.group_names import build_group_name
from serendip.data.arrays import IntArray, locate
from serendip.data.query import Query
from serendip.data.semantic_ids import common_prefix
from serendip.engine.answer import Evidence
from serendip.engine.feature_names import SCORED_KINDS, models_of_kind
from serendip.engine.state import EngineState
from serendip.models.base import Recommender
from serendip.search.understanding import CORRECTED, EXACT

_PER_MODEL = 2
"""Maximum number of votes of one model that become evidence for an item."""

_RECENT = 20
"""Newest items of the history whose semantic IDs are compared."""

_POPULAR_SHARE = 0.2
"""Share of the catalogue that counts as popular."""

Rows: TypeAlias = NDArray[np.intp]
"""Positions of some of the items to explain."""

_Found: TypeAlias = tuple[int, Evidence]
"""Position of an item, and evidence for it."""

_Kind: TypeAlias = Callable[[Rows, int], Iterable[_Found]]
"""(positions of items, most evidence of one model for an item) -> evidence, strongest first."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """Collects evidence for the items of one answer, for all items at once.

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
        everything = np.arange(len(self.items))
        evidence: list[list[Evidence]] = [[] for _ in everything]
        for kind in self._kinds(matches, scores):
            self._add(kind(everything, _PER_MODEL), evidence)
        return evidence

    def reasons(self, matches: Sequence[float], scores: Sequence[float]) -> list[str]:
        """The strongest evidence for each item as one sentence; empty = no evidence.

        Weaker kinds of evidence are computed only for items that have none yet.
        """
        evidence: list[list[Evidence]] = [[] for _ in range(len(self.items))]
        for kind in self._kinds(matches, scores):
            open_rows = np.array([row for row, found in enumerate(evidence) if not found], np.intp)
            if not len(open_rows):
                break
            self._add(kind(open_rows, 1), evidence)
        return [found[0].text if found else "" for found in evidence]

    def _kinds(self, matches: Sequence[float], scores: Sequence[float]) -> Iterator[_Kind]:
        """Functions that give one kind of evidence each, strongest kind first."""
        if self.query.text:
            yield lambda rows, _: self._word_evidence(rows, matches, scores)
        if len(self.query.again):
            yield lambda rows, _: self._again_evidence(rows)
        if len(self.query.history) or len(self.query.source_items):
            for model in self._voting_models():
                yield partial(self._vote_evidence, model)
            yield lambda rows, _: self._code_evidence(rows)
        yield lambda rows, _: self._popularity_evidence(rows)

    @staticmethod
    def _add(found: Iterable[_Found], evidence: list[list[Evidence]]) -> None:
        """Append evidence to that of its items, but no sentence twice for one item."""
        for row, reason in found:
            if all(reason.text != earlier.text for earlier in evidence[row]):
                evidence[row].append(reason)

    def _word_evidence(
        self, rows: Rows, matches: Sequence[float], scores: Sequence[float]
    ) -> Iterator[_Found]:
        """How the items fit the text."""
        for row in rows.tolist():
            match = matches[row]
            if match >= EXACT:
                text = "The title is what you typed"
            elif match >= CORRECTED:
                text = f"Probably meant by “{self.query.text}”"
            else:
                found = "Has words of" if scores[row] > 0 else "Related to"
                text = f"{found} “{self.query.searched}”"
            yield row, Evidence("word", text, round(max(match, 0.0) if match == match else 0.0, 3))

    def _again_evidence(self, rows: Rows) -> Iterator[_Found]:
        """Items that the user chose before and that may come again."""
        for row in rows[locate(self.query.again, self.items[rows])[1]].tolist():
            item_id = self.state.catalogue.vocabulary.id(int(self.items[row]))
            yield row, Evidence("again", "You chose it before", 1.0, item_id)

    def _voting_models(self) -> list[Recommender]:
        """Models with evidence, in its order, which is that of the ranker's features."""
        models = self.state.models
        names = [name for kind in SCORED_KINDS for name in models_of_kind(models, kind)]
        return [models[name] for name in names if models[name].evidence is not None]

    def _vote_evidence(self, model: Recommender, rows: Rows, most: int) -> Iterator[_Found]:
        """The strongest votes of one model, at most ``most`` for an item."""
        rule = model.evidence
        if rule is not None and not rule.covers_new_items:
            rows = rows[self.state.counts[self.items[rows]] > 0]
        given = model.compute_votes(self.query, self.items[rows]) if len(rows) else None
        if rule is None or given is None or not len(given[0]):
            return
        context, votes = given  # (T,), (T, C)
        shown = np.where(self.state.hidden[context][:, None], 0.0, votes)
        best = np.argsort(-shown, axis=0, kind="stable")[:most]  # (most, C)
        strongest = np.take_along_axis(shown, best, axis=0).T.tolist()
        anchors: dict[int, tuple[str, str]] = {}  # place in the context -> sentence and id
        for row, places, weights in zip(rows.tolist(), best.T.tolist(), strongest, strict=True):
            for place, weight in zip(places, weights, strict=True):
                if weight > rule.min_vote:
                    if place not in anchors:
                        item_id, title = self._name(int(context[place]))
                        anchors[place] = rule.sentence.format(title=title), item_id
                    text, item_id = anchors[place]
                    yield row, Evidence(rule.kind, text, round(weight, 4), item_id)

    def _name(self, item: int) -> tuple[str, str]:
        """External id of an item, and its title, or its id if it has none."""
        item_id = self.state.catalogue.vocabulary.id(item)
        return item_id, self.state.catalogue.title(item) or item_id

    def _code_evidence(self, rows: Rows) -> Iterator[_Found]:
        """The recent item that shares the longest prefix of the semantic ID, where one does."""
        query, codes = self.query, self.state.features.codes
        anchors = query.source_items if len(query.source_items) else query.history.item_nums
        anchors = anchors[~self.state.hidden[anchors]][-_RECENT:]
        if not len(anchors):
            return
        own = codes[self.items[rows]]  # (C, L)
        shared = common_prefix(own[:, None], codes[anchors][None])  # (C, A)
        nearest = shared.argmax(1)
        for column, row in enumerate(rows.tolist()):
            depth = int(shared[column, nearest[column]])
            if depth:
                item_id, title = self._name(int(anchors[nearest[column]]))
                name = build_group_name(self.state.code_names, own[column, :depth])
                text = f"In the same group as {title}" + (f": {name}" if name else "")
                yield row, Evidence("code", text, float(depth), item_id)

    def _popularity_evidence(self, rows: Rows) -> Iterator[_Found]:
        """Items without interactions, and the most popular ones; none in between."""
        state = self.state
        counts = state.counts[self.items[rows]]
        ordered = state.derived.ascending("counts", lambda: state.counts)  # (N,)
        ahead = state.num_items - np.searchsorted(ordered, counts, side="right")
        for row, count, share in zip(rows.tolist(), counts.tolist(), ahead, strict=True):
            share = (int(share) + 1) / state.num_items
            if count == 0:
                yield row, Evidence("new", "New here", 0.0)
            elif share <= _POPULAR_SHARE:
                text = f"Among the {math.ceil(100 * share)} % most popular"
                yield row, Evidence("popular", f"{text}, with {count:,} interactions", float(count))
