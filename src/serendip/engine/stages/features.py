"""Ranker features of (query, item) rows, computed by the same code in training and in serving.

A feature never depends on the other candidates of its query, so scores do not depend on the batch.
"Relative" features compare with the best item of the whole catalogue, for the same reason; models
that search an index give the best item that it finds. NaN means that a feature does not apply to a
row.

**Context**: country, device, time, session, and what is known of the user. Each is there only if
the settings name it and the data have it. What a request lacks is NaN, which the ranker has seen in
training: a request without a time has no hour and no session.

Shapes: B queries, R candidate rows, C of one query, F features, D size of a content vector,
L levels of semantic IDs, H newest items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data import BoolArray, FloatArray, IntArray, ItemList, TimeArray, dot_items, locate
from serendip.data.events.event import NO_SESSION
from serendip.data.events.repeats import times_chosen
from serendip.data.items.semantic_ids import common_prefix, first_codes
from serendip.data.query import History, Query
from serendip.engine.feature_names import fit_name, models_of_kind, relative_name
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.state import EngineState
from serendip.models.context_counts import ITEM_COUNTRIES
from serendip.models.popularity import RECENT

CODE_HISTORY = 20  # newest items whose semantic IDs are compared


def feature_matrix(batch: Batch, candidates: Candidates) -> FloatArray:
    """Features (R, F) float32 of candidate rows; columns in the order of ``feature_names``."""
    names, items = batch.state.feature_names, candidates.items
    matrix = np.full((len(items), len(names)), np.nan, np.float32)
    columns = {name: matrix[:, column] for column, name in enumerate(names)}
    for name, values in _model_columns(batch, candidates):
        columns[name][:] = values
    columns["log popularity"][:] = np.log1p(batch.state.counts[items])
    recent = batch.scores(RECENT)
    columns["log recent popularity"][:] = recent.of_items(candidates.rows, items)
    columns["quality"][:] = batch.state.quality[items]
    for row, part in candidates.parts(len(batch.queries)):
        for name, values in _query_columns(batch, row, items[part]):
            columns[name][part] = values
    return matrix


# (C,) each, or one number; the others are NaN.
Columns: TypeAlias = Iterator[tuple[str, NDArray[np.floating] | np.floating | float]]


def _query_columns(batch: Batch, row: int, items: IntArray) -> Columns:
    state, query, past = batch.state, batch.queries[row], batch.pasts[row]
    yield from _cosines(state, query, items)
    if batch.hits is not None and query.text.strip():
        yield from _word_columns(batch.hits[row], items)
    yield from _code_columns(state, query, items)
    yield "log history length", np.log1p(np.float32(len(past)))
    if len(past):
        yield "liked share", past.liked.mean()
    yield from context_columns(state, query, past, items)
    if state.repeats.is_on:
        times = times_chosen(past, items) if len(past) else np.zeros(len(items))
        yield "log times chosen", np.log1p(times.astype(np.float32))


def _model_columns(batch: Batch, candidates: Candidates) -> Columns:
    rows, items, models = candidates.rows, candidates.items, batch.state.models
    for name in (*models_of_kind(models, "count"), *models_of_kind(models, "similarity")):
        scores, best = batch.scores(name).of_items(rows, items), batch.scores(name).best()[rows]
        if models[name].score_kind == "count":
            yield name, np.log1p(scores)
            yield relative_name(name), scores / np.maximum(best, 1e-9)
        else:
            yield name, scores
            yield relative_name(name), scores - best


def _cosines(state: EngineState, query: Query, items: IntArray) -> Columns:
    content, anchors = state.features.content, _find_anchors(query)
    if len(anchors):
        yield "last item cosine", dot_items(content, items, content[int(anchors[-1])])
    if query.text_vector is not None:
        yield "query cosine", state.fusion.compare_text(content, items, query.text_vector)


def _find_anchors(query: Query) -> IntArray:
    return query.source_items if len(query.source_items) else query.history.item_nums


def _word_columns(hits: ItemList, items: IntArray) -> Columns:
    places, is_there = locate(items, hits.item_nums)
    for name, field in (("bm25", "bm25"), ("title match", "title_match")):
        values = np.zeros(len(items), np.float32)  # 0 = not a hit
        if len(hits):
            values[places[is_there]] = hits.fields[field][is_there]
        yield name, values


def _code_columns(state: EngineState, query: Query, items: IntArray) -> Columns:
    anchors = _find_anchors(query)[-CODE_HISTORY:]
    if len(anchors):
        own, recent = state.features.codes[items], state.features.codes[anchors]  # (C, L), (H, L)
        shared = common_prefix(own[:, None], recent[None])  # (C, H)
        yield "best code match", shared.max(1)
        yield "mean code match", shared.sum(1) / len(anchors)


SESSION_S = 1_800.0  # events since then are the session, unless session ids tell
_DAY_S = 86_400.0
_PAST_EVENTS = 50  # newest events before the session whose mean content is compared with an item


_Columns = Iterator[tuple[str, FloatArray | np.float32]]


def context_columns(state: EngineState, query: Query, past: History, items: IntArray) -> _Columns:
    """Names and values of the context features of one query for its candidates (C,)."""
    category_of = first_codes(state.features.codes[items])  # (C,)
    context = state.context
    for name, counts in context.fields.items():
        value = context.value(name, query)
        if value < 0:
            continue
        yield fit_name(name), counts.fit_of(value, items, category_of)
        if name == "country":
            yield "log country popularity", np.log1p(counts.counts_of(value, items))
    for part, build in _PARTS.items():
        if part in context.parts:
            yield from build(state, query, past, items)


def _country_columns(state: EngineState, query: Query, past: History, items: IntArray) -> _Columns:
    if not query.country:
        return
    column = state.catalogue.column(state.context.config.item_country)
    own = column.having_of(query.country.casefold(), items)
    yield "item of the country", own.astype(np.float32)


def _session_columns(state: EngineState, query: Query, past: History, items: IntArray) -> _Columns:
    of_session = find_session(query, past)
    if of_session is None:
        return
    yield "log session length", np.float32(np.log1p(np.count_nonzero(of_session)))
    vectors = state.features.content[items]  # (C, D)
    session, before = past.item_nums[of_session], past.item_nums[~of_session][-_PAST_EVENTS:]
    for name, part in (("session cosine", session), ("earlier past cosine", before)):
        if len(part):
            yield name, vectors @ state.features.content[part].mean(0)


def find_session(query: Query, past: History) -> BoolArray | None:
    """Which events (T,) of the past are of the session of a request; None = that is not known.

    Those that carry its id; without an id, or where no event of the user has one, those of the last
    half hour.
    """
    # A history has no sessions, or, where other users' events have some, one that is none for each.
    if query.session != NO_SESSION and past.sessions is not None and past.sessions.any():
        of_session: BoolArray = past.sessions == query.session
        return of_session
    return past.timestamps >= query.time - SESSION_S if np.isfinite(query.time) else None


def _category_columns(state: EngineState, query: Query, past: History, items: IntArray) -> _Columns:
    codes = state.features.codes
    if len(past) and codes.shape[1]:
        own, chosen = first_codes(codes[items]), first_codes(codes[past.item_nums])  # (C,), (T,)
        shares = np.bincount(chosen, minlength=int(own.max()) + 1) / len(past)
        yield "category share", shares[own].astype(np.float32)


def _price_columns(state: EngineState, query: Query, past: History, items: IntArray) -> _Columns:
    prices = state.catalogue.column(state.context.config.price)
    own = _log_prices(prices.numbers_of(items))
    yield "log price", own
    usual = _log_prices(prices.numbers_of(past.item_nums))
    usual = usual[np.isfinite(usual)]
    if len(usual):
        yield "log price above usual", own - usual.mean(dtype=np.float32)


def _log_prices(prices: TimeArray) -> FloatArray:
    return np.log(np.where(prices > 0, prices, np.nan)).astype(np.float32)


def _age_columns(state: EngineState, query: Query, past: History, items: IntArray) -> _Columns:
    since = query.time - state.catalogue.available_from[items]  # NaN without a time
    known = np.isfinite(since) & (since >= 0)
    yield "log age", np.log1p(np.where(known, since, np.nan) / _DAY_S).astype(np.float32)


_PARTS: Mapping[str, Callable[[EngineState, Query, History, IntArray], _Columns]] = {
    ITEM_COUNTRIES: _country_columns,
    "session": _session_columns,
    "category": _category_columns,
    "price": _price_columns,
    "age": _age_columns,
}
