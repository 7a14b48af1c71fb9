"""Values of attributes that a user chooses more often than the catalogue has them.

A value, such as an author or a genre, is particular to a user by p log(p / q), where p is the share
of the user's newest items that have it and q that of the catalogue: its part of the divergence of
the two (Kullback and Leibler 1951). What everybody has is not particular, nor is what the user
chose once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from serendip.data import Query, normalise
from serendip.engine.state import EngineState

NEWEST = 20  # items of the history that are compared
_LEAST = 2  # items of a history that must have a value, and items of the catalogue
_KEY = "attribute preferences"


class Preference(NamedTuple):
    """A value of the user's newest items, or of the source items of a request.

    Args:
        strength: in (0, 1], how particular it is.
        items: numbers of the items that have it, oldest first.
    """

    strength: float
    items: tuple[int, ...]


# Number of items that were compared, and value -> how particular it is; others are left out.
Preferences: TypeAlias = tuple[int, Mapping[str, Preference]]


def find_preferences(query: Query, state: EngineState) -> Preferences:
    """Preferences of a request: of its source items if it has any, else of the user's newest items.

    They are kept with the history as long as the catalogue stays the same.
    """
    if len(query.source_items):
        return _compare(query.source_items.tolist(), state, 1)
    derived = query.history.derived
    found: tuple[object, Preferences] | None = derived.get(_KEY)
    if found is None or found[0] is not state.catalogue:
        newest = query.history.item_nums.tolist()[::-1]
        items = [item for item in dict.fromkeys(newest) if not state.hidden[item]][:NEWEST]
        found = derived[_KEY] = state.catalogue, _compare(items[::-1], state, _LEAST)
    return found[1]


def _compare(items: list[int], state: EngineState, least: int) -> Preferences:
    having: dict[str, list[int]] = {}
    for item in items:
        for word in state.catalogue.words(item):
            having.setdefault(word, []).append(item)
    values = {}
    for word, owners in having.items():
        known = state.searcher.values.count(normalise(word))
        share = len(owners) / len(items)
        if len(owners) < least or known < _LEAST or share * state.num_items <= known:
            continue
        strength = share * math.log(share * state.num_items / known)
        values[word] = Preference(min(strength, 1.0), tuple(owners))
    return len(items), values
