"""Who asks for suggested queries: what they chose and searched, and how items suit them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.event import ActionRules
from serendip.data.query import History, Query, UserPast
from serendip.data.search_log import SUGGESTED
from serendip.data.store.store import Store
from serendip.data.text import normalise
from serendip.engine.batch import condensed
from serendip.engine.state import EngineState
from serendip.engine.suggesting import Past
from serendip.search.query_features import Asker

OWN_EVENTS = 50
"""Newest events of a user whose words and items may be suggested again."""

MOST_USERS = 256
MOST_NUMBERS = 16_000_000
"""Users and, each having one number per item, numbers that are kept: 64 MB."""

_MODEL = "retriever"


class Askers:
    """Users who asked, kept until they choose something else; safe to use from many threads.

    Args:
        store: where their events are.
        rules: which of them count.
    """

    def __init__(self, store: Store, rules: ActionRules) -> None:
        self._store, self._rules = store, rules
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int, float, bytes, int], tuple[Asker, Past]] = (
            OrderedDict()
        )

    def of(self, state: EngineState, user_id: str, past: UserPast) -> tuple[Asker, Past]:
        """A user with everything that they chose and rejected."""
        history, unwanted = past.history, past.rejected.reaching("recommendations")
        last = float(history.timestamps[-1]) if len(history) else 0.0
        key = (user_id, len(history), last, unwanted.tobytes(), state.num_items)
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
        if known is None:
            events = self._store.history(user_id, OWN_EVENTS, self._rules.ignore)
            searches = [one.query.strip() for one in events[::-1] if one.surface != SUGGESTED]
            taste = _taste(state, user_id, history)
            known = asker_of(state, history, taste, _newest_first(searches), user_id, unwanted)
            with self._lock:
                self._kept[key] = known
                while len(self._kept) > most_kept(state.num_items):
                    self._kept.popitem(last=False)
        return known


def most_kept(num_items: int) -> int:
    """So many users are kept of a catalogue: one at least, and those asked for last."""
    return max(1, min(MOST_USERS, MOST_NUMBERS // max(1, num_items)))


def asker_of(
    state: EngineState,
    history: History,
    taste: FloatArray,
    searched: Sequence[str],
    user_id: str = "",
    unwanted: IntArray = NO_ITEMS,
) -> tuple[Asker, Past]:
    """A user as of the moment of asking.

    Args:
        state: what requests are answered from.
        history: all that they chose, oldest first.
        taste: see ``Asker``.
        searched: their own searches, newest first.
        user_id: external id; empty where nothing is to be explored.
        unwanted: items that are not recommended to them.
    """
    liked = tuple(dict.fromkeys(history.item_nums[history.liked][::-1].tolist()))
    seen = state.queries.categories.among(state.catalogue[int(item)] for item in history.item_nums)
    asker = Asker(history.item_nums, taste, seen, frozenset(map(normalise, searched)))
    return asker, Past(searched, liked, user_id, history, frozenset(unwanted.tolist()))


def _newest_first(searches: Sequence[str]) -> list[str]:
    """Each normal form once."""
    found: dict[str, str] = {}
    for text in searches:
        found.setdefault(normalise(text), text)
    return [text for key, text in found.items() if key]


def _taste(state: EngineState, user_id: str, history: History) -> FloatArray:
    """(N,) the retriever's scores of all items, told in deviations from their mean."""
    model = state.models.get(_MODEL)
    if model is None or not len(history):
        return np.empty(0, np.float32)
    query = condensed(Query("home", user_id=user_id, history=history), state)
    scores = model.score_all([query])[0]
    finite = np.isfinite(scores)
    spread = float(scores[finite].std()) if finite.any() else 0.0
    if spread == 0.0:
        return np.empty(0, np.float32)
    mean = float(scores[finite].mean())
    return np.where(finite, (scores - mean) / spread, 0.0).astype(np.float32)
