"""Builds queries from requests: ids become item numbers of one state, text is corrected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from serendip.content.encoders.base import TextEncoder
from serendip.content.features import fuse_text_vectors
from serendip.content.fusion import Fusion
from serendip.data.arrays import NO_ITEMS, FloatArray
from serendip.data.event import ActionRules
from serendip.data.query import Query, UserPast
from serendip.data.store.store import Store
from serendip.engine.request import Request
from serendip.engine.stages.surfaces import SurfaceConfig, find_surface
from serendip.engine.state import EngineState
from serendip.engine.user_histories import UserHistories
from serendip.errors import UnknownItemError

_MOST_TEXTS = 4096
"""Vectors of texts that are kept."""


class QueryBuilder:
    """Builds queries over one generation; safe to use from many threads.

    Args:
        encoder: of words.
        fusion: of the generation.
        store: where events are.
        rules: which of them are interactions, likes or negative.
        surfaces: by name; a query carries the task of its surface.
        clock: tells Unix seconds.
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
        self._pasts = UserHistories(store, rules)
        self._vector_of = lru_cache(maxsize=_MOST_TEXTS)(self._encoded)

    def build(self, state: EngineState, request: Request) -> Query:
        """The query of a request as of now, with the whole history of its user.

        Args:
            state: what the request is answered from.
            request: of a configured surface.

        Raises:
            UnsupportedError: the surface is not configured.
            UnknownItemError: one of the items is not in the catalogue, or hidden.
        """
        surface, text = find_surface(self._surfaces, request.surface), request.text
        sources = [number_of(item_id, state) for item_id in request.item_ids]
        past = self.past(state, request.user_id)
        meant = "" if request.literal else state.searcher.corrected(text)
        return Query(
            surface=surface.task,
            text=text,
            meant=meant,
            is_literal=request.literal,
            text_vector=self._vector_of(meant or text) if text.strip() else None,
            user_id=request.user_id,
            history=past.history,
            rejected=past.rejected,
            source_items=np.array(sources, np.int32) if sources else NO_ITEMS,
            time=self._clock(),
            country=request.country,
        )

    def past(self, state: EngineState, user_id: str) -> UserPast:
        """What a user chose and what they rejected; empty for an unknown visitor."""
        return self._pasts.of(user_id, state.catalogue.vocabulary) if user_id else UserPast()

    def _encoded(self, text: str) -> FloatArray:
        vector: FloatArray = fuse_text_vectors([text], self._encoder.encode([text]), self._fusion)[
            0
        ]
        return vector


def number_of(item_id: str, state: EngineState) -> int:
    """Number of an item that may be answered.

    Raises:
        UnknownItemError: it is not in the catalogue, or hidden: deleted or not available yet.
    """
    number = state.catalogue.vocabulary.number(item_id)
    if number < 0 or state.hidden[number]:
        raise UnknownItemError(
            f"item {item_id!r} is not in the catalogue.", "POST it to /v1/items first."
        )
    return number
