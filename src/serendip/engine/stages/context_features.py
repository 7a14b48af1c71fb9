"""Ranker features of the context: country, device, time, session, and what is known of the user.

Each is there only if the settings name it and the data have it. What a request lacks is NaN, which
the ranker has seen in training: a request without a time has no hour and no session.

Shapes: R candidate rows, C candidates of one query, D size of a content vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from serendip.data import BoolArray, FloatArray, History, IntArray, Query, TimeArray
from serendip.data.events.event import NO_SESSION
from serendip.data.items.semantic_ids import first_codes
from serendip.engine.feature_names import fit_name
from serendip.engine.state import EngineState
from serendip.models.context_counts import ITEM_COUNTRIES

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
