"""What the database holds about queries: searches, suggestions shown, choices of similar items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serendip.data.dataset import Dataset
from serendip.data.event import ActionRules
from serendip.data.search_log import (
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
    """Logged queries, with the snapshot whose item numbers they use.

    Args:
        dataset: items and interactions.
        searches: in order of time.
        suggested: suggestions that were shown, in order of time.
        similar: user -> times at which they chose an item of the surface ``similar``.
    """

    dataset: Dataset
    searches: Sequence[Search]
    suggested: Sequence[SuggestedQuery] = ()
    similar: Mapping[str, Sequence[float]] = field(default_factory=dict)


def read_log(store: Store, dataset: Dataset, rules: ActionRules) -> Log:
    """Read the newest logged queries of a store.

    Args:
        store: open.
        dataset: the store's snapshot.
        rules: which events are choices.
    """
    events = store.requested(MOST_REQUESTED)
    return Log(
        dataset,
        read_searches(events, dataset.catalogue.vocabulary, rules),
        read_suggested(events, rules),
        similar_choices(events, rules),
    )
