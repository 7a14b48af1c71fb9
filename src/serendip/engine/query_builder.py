"""What a request says, read into a query: ids as numbers of one state, words as what was meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from serendip.content.encoders.base import TextEncoder
from serendip.content.features import encode_words
from serendip.content.fusion import Fusion
from serendip.data.arrays import NO_ITEMS, FloatArray
from serendip.data.event import ActionRules
from serendip.data.query import Query, UserPast
from serendip.data.store.store import Store
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.engine.user_histories import UserHistories
from serendip.errors import UnknownItemError

_MOST_TEXTS = 4096
"""Vectors of texts that are kept."""


class QueryBuilder:
    """Reads requests over one generation; safe to use from many threads.

    Args:
        encoder: of words.
        fusion: of the generation.
        store: where events are.
        rules: which of them are interactions, likes or negative.
        clock: tells Unix seconds.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        fusion: Fusion,
        store: Store,
        rules: ActionRules,
        clock: Callable[[], float],
    ) -> None:
        self._encoder, self._fusion, self._clock = encoder, fusion, clock
        self._pasts = UserHistories(store, rules)
        self._vector_of = lru_cache(maxsize=_MOST_TEXTS)(self._encoded)

    def read(
        self,
        state: EngineState,
        surface: SurfaceConfig,
        user_id: str = "",
        text: str = "",
        item_ids: Sequence[str] = (),
        country: str = "",
        literal: bool = False,
    ) -> Query:
        """A query as of now, with everything that the user did.

        Args:
            state: what the request is answered from.
            surface: that is asked.
            user_id: who asks; empty for an unknown visitor.
            text: what was typed.
            item_ids: the item looked at, the cart.
            country: where the request comes from.
            literal: take the text as it was typed, whatever may have been meant.

        Raises:
            UnknownItemError: one of the items is not in the catalogue, or hidden.
        """
        sources = [number_of(item_id, state) for item_id in item_ids]
        past = self.past(state, user_id)
        meant = "" if literal else state.searcher.corrected(text)
        return Query(
            surface=surface.task,
            text=text,
            meant=meant,
            is_literal=literal,
            text_vector=self._vector_of(meant or text) if text.strip() else None,
            user_id=user_id,
            history=past.history,
            rejected=past.rejected,
            source_items=np.array(sources, np.int32) if sources else NO_ITEMS,
            time=self._clock(),
            country=country,
        )

    def past(self, state: EngineState, user_id: str) -> UserPast:
        """What a user chose and what they rejected; empty for an unknown visitor."""
        return self._pasts.of(user_id, state.catalogue.vocabulary) if user_id else UserPast()

    def _encoded(self, text: str) -> FloatArray:
        vector: FloatArray = encode_words([text], self._encoder.encode([text]), self._fusion)[0]
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
