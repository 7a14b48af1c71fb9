"""From the store's events to what a request knows of its user, in item numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.event import ActionRules, Event
from serendip.data.query import History
from serendip.engine.state import EngineState


def history_from(events: Sequence[Event], state: EngineState, rules: ActionRules) -> History:
    """Interactions with known items as a history; everything else is left out."""
    kept = [event for event in events if event.action not in rules.ignore]
    numbers = state.catalogue.vocabulary.numbers(event.item_id for event in kept)
    rows = np.flatnonzero(numbers >= 0)
    return History(
        numbers[rows],
        np.array([kept[row].timestamp for row in rows], dtype=np.float64),
        np.array([rules.is_like(kept[row].action, kept[row].value) for row in rows], np.bool_),
    )


def seen_items(
    chosen: Iterable[tuple[str, str]], state: EngineState, rules: ActionRules
) -> IntArray:
    """Known items of all (item_id, action) pairs of a user with a long past, each once."""
    ids = [item for item, action in chosen if action not in rules.ignore]
    numbers = np.unique(state.catalogue.vocabulary.numbers(ids))
    return numbers[numbers >= 0]
