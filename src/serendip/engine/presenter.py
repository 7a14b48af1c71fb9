"""From what a run found to what is answered: ids, numbers by name, reasons, evidence.

What is told about a text that was searched: corrections, words that no item has, rewrites.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence

import numpy as np

from serendip.data.item_list import ItemList
from serendip.data.query import Query
from serendip.data.semantic_ids import code_name
from serendip.data.text import normalise, words
from serendip.engine.answer import (
    Answer,
    AnswerItem,
    Explanation,
    SearchFeedback,
    Suggestion,
    Suggestions,
    cursor_of,
)
from serendip.engine.explain import Explainer
from serendip.engine.request import Request
from serendip.engine.stages.pipeline import features_of
from serendip.engine.stages.relevance_filter import P_IRRELEVANT, query_words
from serendip.engine.stages.selection import Result
from serendip.engine.stages.sponsored import SPONSORED
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState

_WORDS = "words"


def search_feedback(result: Result, state: EngineState) -> SearchFeedback | None:
    """How the words of a request were read; None where its surface searches none."""
    query, trace = result.query, result.trace
    if not query.text.strip() or f"from {_WORDS}" not in trace:
        return None
    searcher = state.searcher
    reading = searcher.read(query.text, query.is_literal)
    # Without hits items with the words may still be there, which a filter leaves out.
    is_known = len(reading.unknown) < len(set(words(normalise(query.searched))))
    is_found = is_known or trace[f"from {_WORDS}"] > 0
    return SearchFeedback(
        searcher.written(reading.corrected_key) if query.meant else query.text,
        bool(query.meant),
        searcher.written(reading.told_key) if reading.told_key else "",
        reading.unknown,
        by_meaning=not is_found and len(result.items) > 0,
        rewrites=searcher.instead_of(query.text, query.is_literal),
    )


_WORD_SCORES = ("title match", "bm25")


def empty_answer(generation: str, surface: str) -> Answer:
    """An answer without items."""
    return Answer(uuid.uuid4().hex, generation, surface, ())


def build_answer(
    result: Result, state: EngineState, generation: str, request: Request, offset: int
) -> Answer:
    """The page of the list that the request asks for, with reasons."""
    k = request.k
    page = result.items.take(np.arange(offset, min(offset + k, len(result.items))))
    words = (page.fields[name].tolist() for name in _WORD_SCORES)
    reasons = Explainer(state, result.query, page.item_nums).reasons(*words)
    sponsored = page.fields.get(SPONSORED, np.zeros(len(page), np.bool_))
    items = tuple(
        AnswerItem(
            state.catalogue[int(item)].item_id,
            float(page.scores[row]),
            _parts(page, row),
            reasons[row],
            bool(sponsored[row]),
        )
        for row, item in enumerate(page.item_nums)
    )
    following = cursor_of(offset + k) if offset + k < len(result.items) else ""
    understood = search_feedback(result, state)
    return Answer(
        uuid.uuid4().hex,
        generation,
        request.surface,
        items,
        following,
        result.degraded,
        understood,
    )


def build_suggestions(generation: str, queries: Sequence[Suggestion]) -> Suggestions:
    """Suggested queries with a request id of their own."""
    return Suggestions(uuid.uuid4().hex, generation, tuple(queries))


def build_explanation(
    result: Result, query: Query, item: int, surface: SurfaceConfig, state: EngineState
) -> Explanation:
    """Why an item is, or is not, in the list.

    Args:
        result: what the request found.
        query: the request.
        item: number of the item asked about.
        surface: how the request was answered.
        state: what it was answered from.
    """
    places = np.flatnonzero(result.items.item_nums == item)
    if len(places):
        parts = _parts(result.items, int(places[0]))
    else:
        features = features_of(query, item, surface, state)
        named = dict(zip(state.feature_names, features.tolist(), strict=True))
        parts = _finite({**named, **_p_irrelevant(result.query, item, surface, state)})
    explainer = Explainer(state, result.query, np.array([item], np.int32))
    return Explanation(
        state.catalogue[item].item_id,
        tuple(explainer.evidence(*([parts.get(name, math.nan)] for name in _WORD_SCORES))[0]),
        parts,
        code_name(state.features.codes[item]),
        result.trace,
        int(places[0]) if len(places) else None,
    )


def _p_irrelevant(
    query: Query, item: int, surface: SurfaceConfig, state: EngineState
) -> dict[str, float]:
    """P(irrelevant) of an item that is not shown, if the surface filters by it."""
    model = state.relevance_model
    if surface.relevance_filter is None or model is None:
        return {}
    words = query_words(model, state, query)
    if words is None:
        return {}
    return {P_IRRELEVANT: float(model.probabilities(*words, np.array([item], np.int32))[0])}


def _parts(items: ItemList, row: int) -> dict[str, float]:
    named = {name: values for name, values in items.fields.items() if name != SPONSORED}
    return _finite({name: float(values[row]) for name, values in named.items()})


def _finite(parts: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in parts.items() if math.isfinite(value)}
