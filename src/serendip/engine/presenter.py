"""Builds answers from the results of a run: external ids, named numbers, reasons and evidence.

For a searched text the answer also says how the text was interpreted: corrections, words that no
item has, rewrites.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from serendip.data import IntArray, ItemList, Query, words
from serendip.data.items.semantic_ids import code_name
from serendip.engine.explanations.absence import AbsenceFinder
from serendip.engine.explanations.explain import RELATED, SENTENCES, Explainer
from serendip.engine.explanations.highlights import find_highlights
from serendip.engine.explanations.influence import Influence, find_influence, measure_influence
from serendip.engine.explanations.translation import choose_language
from serendip.engine.listing import count_facets, sort_items
from serendip.engine.request import (
    MAX_SHOWN,
    Answer,
    AnswerItem,
    Evidence,
    Explanation,
    Place,
    Request,
    SearchFeedback,
    hash_ids,
)
from serendip.engine.stages.base import FIRST
from serendip.engine.stages.list_filters import P_IRRELEVANT, RelevanceFilter
from serendip.engine.stages.list_rules import EXPLORED, PINNED, PROPENSITY, SPONSORED
from serendip.engine.stages.pipeline import features_of
from serendip.engine.stages.rules import name_rules
from serendip.engine.stages.selection import Result
from serendip.engine.state import EngineState

_WORD_SOURCE = "from words"  # key of a trace: candidates that the word search proposed
_DECIMALS = 5  # of the numbers of an item
_ANY_WORD = 1e-9  # below the BM25 of any item with a word
# Numbers of an item that its events carry, so that what was explored can be told apart.
_LOGGED = (EXPLORED, PROPENSITY)
_WORD_SCORES = ("title match", "bm25")  # features that the evidence of the text is computed from


@dataclass(frozen=True, slots=True)
class Presenter:
    """Builds the answers of one request.

    Args:
        generation: its name.
        place: where the page begins.
        fields: attributes that each item carries.
    """

    state: EngineState
    generation: str
    request: Request
    place: Place = field(default_factory=Place)
    fields: Sequence[str] = ()

    def build_answer(self, result: Result, counted: IntArray) -> Answer:
        """The requested page of a result, with reasons if the request asks for them.

        Facets count the items ``counted``.
        """
        state, request, result = self.state, self.request, self._in_order(result)
        understood, text = self.tell_understood(result), result.query.shown
        items, offset = self._put_shown_first(result.items)
        reasons: Sequence[Evidence | None] = ()
        if request.reasons:  # which kind is told next depends on those before the page
            told = items.take(slice(0, offset + request.k))
            explainer = self._explain(result, told.item_nums, find_influence(result, state, told))
            scores = (told.fields[name].tolist() for name in _WORD_SCORES)
            reasons = explainer.reasons(*scores)[offset:]
            # What a rule pins is nowhere near the text by itself.
            placed = items.fields.get(PINNED, np.zeros(len(items)))[offset:].tolist()
            reasons = [
                None if place == 1 and one and one.code == SENTENCES[RELATED] else one
                for one, place in zip(reasons, placed, strict=False)
            ]
        answer = self._build_page(items, offset, counted, reasons, text if understood else "")
        return replace(answer, degraded=result.degraded, understood=understood)

    def build_plain(self, items: ItemList) -> Answer:
        """The requested page of a list in its order, without reasons."""
        return self._build_page(*self._put_shown_first(items), items.item_nums)

    def _put_shown_first(self, items: ItemList) -> tuple[ItemList, int]:
        """The list with what was shown before the page at its begin, and how much that is.

        What has moved since is neither repeated nor skipped: of the others the best come next.
        """
        if not len(self.place.shown):
            return items, 0
        ids = self.state.catalogue.vocabulary.ids_of(items.item_nums)
        is_shown = np.isin(hash_ids(ids), self.place.shown)
        return items.take(np.argsort(~is_shown, kind="stable")), int(is_shown.sum())

    def _build_page(
        self,
        items: ItemList,
        offset: int,
        counted: IntArray,
        reasons: Sequence[Evidence | None] = (),
        searched: str = "",
    ) -> Answer:
        """The page of a list that begins at the 0-based ``offset``.

        Of items without ``reasons`` nothing is said; words of ``searched`` are marked in titles.
        """
        request, catalogue, end = self.request, self.state.catalogue, offset + self.request.k
        page, cursor = items.take(slice(offset, end)), ""
        if end < len(items) and len(self.place.shown) + len(page) <= MAX_SHOWN:
            cursor = self.place.write(catalogue.vocabulary.ids_of(page.item_nums))
        return Answer(
            uuid.uuid4().hex,
            self.generation,
            request.surface,
            tuple(self._build_items(page, reasons or [None] * len(page), searched)),
            cursor,
            facets=count_facets(counted, request.facets, catalogue),
        )

    def _build_items(
        self, page: ItemList, reasons: Sequence[Evidence | None], searched: str
    ) -> Iterator[AnswerItem]:
        catalogue = self.state.catalogue
        numbers = page.item_nums.tolist()
        titles = [catalogue.title(number) for number in numbers]
        language = self.state.searcher.lexical.language
        columns = (
            numbers,
            catalogue.vocabulary.ids_of(page.item_nums),
            titles,
            page.scores.tolist(),
            _parts(page if self.request.parts else _only_logged(page)),
            reasons,
            page.fields.get(SPONSORED, np.zeros(len(page), np.bool_)).tolist(),
            find_highlights(titles, searched, language) if searched else [()] * len(page),
        )
        for number, item_id, title, score, parts, reason, is_bought, marks in zip(
            *columns, strict=True
        ):
            yield AnswerItem(
                item_id,
                title or item_id,
                score,
                parts,
                reason.text if reason else "",
                reason.code if reason else "",
                _tell_parts(reason) if reason else {},
                is_bought,
                catalogue[number].fields(self.fields) if self.fields else {},
                marks,
            )

    def build_explanation(self, result: Result, query: Query, item: int) -> Explanation:
        """Explain why an item is, or is not, in the list.

        ``query`` is the whole request, including the parts that the surface does not read.
        """
        state, result = self.state, self._in_order(result)
        places, number = np.flatnonzero(result.items.item_nums == item), np.array([item], np.int32)
        surface = result.surface
        if len(places):
            listed = result.items.take(places[:1])
            influence, parts = find_influence(result, state, listed), _parts(listed)[0]
        else:
            features = features_of(query, item, surface, state)  # (F,)
            influence = measure_influence(result, state, number, features[None])
            columns = dict(zip(state.feature_names, features[:, None], strict=True))
            relevance = RelevanceFilter(surface.relevance_filter)
            is_on = relevance.is_on(state)
            chances = relevance.predict(state, result.query, number) if is_on else None
            if chances is not None:
                columns[P_IRRELEVANT] = chances
            parts = _parts(ItemList.of_distinct(number, features[:1], columns))[0]
        explainer = self._explain(result, number, influence)
        return Explanation(
            self.generation,
            state.catalogue.vocabulary.id(item),
            tuple(explainer.evidence(*([parts.get(name, math.nan)] for name in _WORD_SCORES))[0]),
            parts,
            code_name(state.features.codes[item]),
            result.trace,
            int(places[0]) if len(places) else None,
            AbsenceFinder(self.request, query, surface, state, result).find(item),
            name_rules(query, item, state),
        )

    def tell_understood(self, result: Result) -> SearchFeedback | None:
        """How the text was interpreted; None if its surface does not search words."""
        query, trace, searcher = result.query, result.trace, self.state.searcher
        if not query.text.strip() or _WORD_SOURCE not in trace:
            return None
        if self.state.match_id(query.text) >= 0:
            return SearchFeedback(query.shown)
        read = searcher.read(query.text, query.is_literal)
        # A filter may remove all items that have the words.
        is_lexical = bool({*words(read.content.text)} - {*read.unknown}) or trace[_WORD_SOURCE] > 0
        return SearchFeedback(
            query.shown,
            bool(query.meant),
            searcher.display_form(read.told_key) if read.told_key else "",
            read.unknown,
            by_meaning=not is_lexical and len(result.items) > 0,
            nothing=not is_lexical and not len(result.items),
            rewrites=searcher.find_rewrites(query.text, query.is_literal),
        )

    def _in_order(self, result: Result) -> Result:
        items = sort_items(result.items, self.request.sort, self.state.catalogue)
        return replace(result, items=items)

    def _explain(self, result: Result, items: IntArray, influence: Influence | None) -> Explainer:
        language, best = choose_language(self.request.language), _best_words(result)
        return Explainer(self.state, result.query, items, language, influence, best)


def _tell_parts(reason: Evidence) -> dict[str, str | float]:
    return {**reason.values, "item_id": reason.item_id} if reason.item_id else {**reason.values}


def tell_rules(answer: Answer, query: Query) -> Answer:
    """The answer with the address and the banner of its rules; of several the first counts."""
    texts = {rule.action: str(rule.value) for rule in reversed(query.rules)}
    return replace(answer, redirect=texts.get("redirect", ""), banner=texts.get("banner", ""))


def _best_words(result: Result) -> float:
    scores = result.items.take(slice(0, FIRST)).fields.get("bm25", np.zeros(0))
    # If none has a word, any word is as good.
    return float(np.nan_to_num(scores).max(initial=0.0)) or _ANY_WORD


def _only_logged(items: ItemList) -> ItemList:
    kept = {name: column for name, column in items.fields.items() if name in _LOGGED}
    return ItemList.of_distinct(items.item_nums, items.scores, kept)


def _parts(items: ItemList) -> list[dict[str, float]]:
    names = [name for name in items.fields if name != SPONSORED]
    table = np.empty((len(items), len(names)))  # (C, F)
    for column, name in enumerate(names):
        table[:, column] = items.fields[name]
    rounded = table.round(_DECIMALS)
    if PROPENSITY in names:  # estimates divide by it: a small one must not become 0
        rounded[:, names.index(PROPENSITY)] = items.fields[PROPENSITY]
    rows = [dict(zip(names, row, strict=True)) for row in rounded.tolist()]
    return rows if np.isfinite(table).all() else list(map(_drop_infinite, rows))


def _drop_infinite(parts: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in parts.items() if math.isfinite(value)}
