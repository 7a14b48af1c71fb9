"""Builds the query of a request: item numbers, corrected and encoded text, history of the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from serendip.content.encoders.base import TextEncoder
from serendip.content.features import fuse_text_vectors
from serendip.content.fusion import Fusion
from serendip.data import NO_ITEMS, ActionRules, FloatArray, Query, UserPast, fold
from serendip.data.events.event import session_code
from serendip.data.items.attribute_test import parse_tests
from serendip.data.rules import find_keys
from serendip.data.store.store import Store
from serendip.data.users.user import COUNTRY
from serendip.engine.listing import find_newest_order, find_year_attribute
from serendip.engine.live.user_histories import UserHistories
from serendip.engine.request import Request
from serendip.engine.stages.surfaces import SurfaceConfig, find_surface
from serendip.engine.state import EngineState
from serendip.errors import UnknownItemError
from serendip.search.understanding import find_years

_FINAL_SIGNS = " ?!.,;:\u2026\u3002"

_TEXT_CACHE_SIZE = 4096  # texts whose vectors are cached


class QueryBuilder:
    """Builds queries over one generation; safe to use from many threads.

    Args:
        fusion: of the generation; maps text vectors into the space of the content vectors.
        surfaces: by name; a query has the task of its surface.
        clock: returns Unix seconds.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        fusion: Fusion,
        store: Store,
        rules: ActionRules,
        surfaces: Mapping[str, SurfaceConfig],
        clock: Callable[[], float],
    ) -> None:
        self._encoder, self._fusion, self._clock = encoder, fusion, clock
        self._surfaces = surfaces
        self.histories = UserHistories(store, rules)
        self._cached_vectors = lru_cache(maxsize=_TEXT_CACHE_SIZE)(self._encode)

    def build(self, state: EngineState, request: Request, sent: Request | None = None) -> Query:
        """Build the query of a request at the present time, with the whole history of its user.

        Rules are for the request as it was ``sent``, before experiments and ``read_wish``, and for
        the surface that answers; None = as it is.

        Raises:
            UnsupportedError: the surface is not configured.
            UnknownItemError: an item is not in the catalogue, deleted or not available yet.
            DataError: a filter is no test of an attribute that items have.
        """
        past = self.read_past(state, request.user_id)
        query = self._read(state, request, past)
        frequency = self._surfaces[request.surface].frequency
        if frequency is not None and request.user_id:
            vocabulary = state.catalogue.vocabulary
            worn = self.histories.find_worn(request.user_id, frequency, query.time, vocabulary)
            query = replace(query, worn=worn)
        if query.text.strip():
            titled = None
            if not query.is_literal:
                is_typed = fold(request.text).rstrip(_FINAL_SIGNS) in (query.text, "")
                asked = "" if is_typed else query.text
                query = replace(query, meant=state.searcher.correct_text(query.text) or asked)
                titled = state.title_vector(query.text)
            vector, encoded = self._cached_vectors(
                state.searcher.find_meaning(query.meant or query.text)
            )
            # What is like a titled item is meant, not what its title may mean.
            vector = vector if titled is None else titled
            query = replace(query, text_vector=vector, encoded_text=encoded)
        query = replace(query, again=state.repeats.due(query.history, query.time))
        return _with_rules(query, request, sent or request, state)

    def build_from_memory(self, state: EngineState, request: Request, sent: Request) -> Query:
        """As ``build``, but neither the store nor the encoder is asked.

        Of the user it is known what the last request read; nothing if it is not cached any more.
        """
        past = self.histories.cached(request.user_id) or UserPast()
        query = self._read(state, request, past.known(state.num_items))
        return _with_rules(query, request, sent, state)

    def _read(self, state: EngineState, request: Request, past: UserPast) -> Query:
        sources = [find_item_number(item_id, state) for item_id in request.item_ids]
        now, session, history = self._clock(), session_code(request.session_id), past.history
        if request.items:
            chosen = state.catalogue.vocabulary.numbers(request.items)
            history = history.then(chosen[chosen >= 0], now, session)
        is_id, text = _read_text(state, request)
        return past.query(
            find_surface(self._surfaces, request.surface).task,
            text=text,
            typed=request.text,
            is_literal=request.literal or is_id,
            user_id=request.user_id,
            history=history,
            source_items=np.array(sources, np.int32) if sources else NO_ITEMS,
            time=now,
            country=request.country or past.country,
            device=request.device,
            session=session,
            filters=parse_tests(request.filters, state.catalogue),
        )

    def read_past(self, state: EngineState, user_id: str) -> UserPast:
        """What is known of a user now; empty for an unknown visitor."""
        if not user_id:
            return UserPast()
        return self.histories.of(user_id, state.catalogue.vocabulary)

    def _encode(self, text: str) -> tuple[FloatArray, FloatArray]:
        encoded = self._encoder.encode([text])  # (1, C)
        return fuse_text_vectors([text], encoded, self._fusion)[0], encoded[0]


def _with_rules(query: Query, request: Request, sent: Request, state: EngineState) -> Query:
    if not state.rules.by_id:
        return query
    user = {**query.user_groups, COUNTRY: query.country}
    keys = find_keys(
        {sent.surface, request.surface}, (sent.text, query.searched), query.filters, user
    )
    rules = state.rules.find(keys, query.time)
    if sent.sort:  # The order of the request is nobody's to change.
        rules = tuple(rule for rule in rules if rule.action in ("hide", "redirect", "banner"))
    return replace(query, rules=rules)


def _read_text(state: EngineState, request: Request) -> tuple[bool, str]:
    """Whether the text of a request is an id, and the text as it is read: folded, without signs
    at its end, of a sentence what it asks for; or the id.
    """
    is_id = state.match_id(request.text) >= 0
    if is_id:
        return is_id, request.text
    text = request.text if request.literal else state.searcher.reader.find_asked(request.text)
    folded = fold(text)
    return is_id, folded.rstrip(_FINAL_SIGNS) or folded


def find_item_number(item_id: str, state: EngineState) -> int:
    """Number of an item that may be shown.

    Raises:
        UnknownItemError: the item is not in the catalogue, deleted or not available yet.
    """
    number = state.catalogue.vocabulary.number(item_id)
    if number < 0 or state.hidden[number]:
        raise UnknownItemError(
            f"item {item_id!r} is not in the catalogue.", "POST it to /v1/items first."
        )
    return number


def read_wish(
    request: Request, surfaces: Mapping[str, SurfaceConfig], state: EngineState
) -> Request:
    """The request as its text wishes: for similar items if it asks for others like one, of some
    years if it names these, in the order of time if it asks for the newest.

    Raises:
        UnsupportedError: the surface is not configured.
    """
    surface = find_surface(surfaces, request.surface)
    if surface.needs != "query" or request.literal or not request.text:
        return request
    liked = state.searcher.reader.find_liked(request.text)
    if liked >= 0 and not state.hidden[liked]:
        item_ids = (state.catalogue.vocabulary.id(liked),)
        return replace(request, surface="similar", item_ids=item_ids, text="")
    text = _read_text(state, request)[1]
    rest, test = find_years(text)
    year = find_year_attribute(state.catalogue) if test else ""
    if year and not len(state.searcher.read(text).exact):
        asked = state.searcher.read(rest).content
        text = rest if asked.values or asked.words else ""  # of "films" alone all are listed
        request = replace(request, text=text, filters=(*request.filters, f"{year}{test}"))
    reading = state.searcher.read(text)
    if request.sort or surface.sponsored or len(reading.exact) or not reading.content.is_newest:
        return request
    return replace(request, sort=find_newest_order(state.catalogue))
