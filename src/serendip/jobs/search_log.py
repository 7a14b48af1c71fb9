"""Reads the query log of a database: searches, shown suggestions, choices of similar items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serendip.data import ActionRules, Dataset
from serendip.data.events.search_log import (
    Search,
    SuggestedQuery,
    read_searches,
    read_suggested,
    similar_choices,
)
from serendip.data.snapshot import MOST_REQUESTED
from serendip.data.store.store import Store


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Logged queries, in the item numbers of a snapshot.

    Args:
        dataset: the snapshot.
        searches: by time.
        suggested: shown suggestions, by time.
        similar: user -> times of the choices on the surface ``similar``.
    """

    dataset: Dataset
    searches: Sequence[Search]
    suggested: Sequence[SuggestedQuery] = ()
    similar: Mapping[str, Sequence[float]] = field(default_factory=dict)


def read_log(store: Store, dataset: Dataset, rules: ActionRules) -> Log:
    """Read the newest logged queries of a store.

    Args:
        store: to read from.
        dataset: snapshot of the store.
        rules: which events are choices.
    """
    events = store.requested(MOST_REQUESTED)
    return Log(
        dataset,
        read_searches(events, dataset.catalogue.vocabulary, rules),
        read_suggested(events, rules),
        similar_choices(events, rules),
    )
