"""Which actions the ranker predicts: two derived ones, and any action of the log by its name.

``interact`` is any event of interest, ``like`` any that is a like by ``[actions]``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from serendip.data.dataset import Dataset
from serendip.errors import ConfigError

INTERACT, LIKE = "interact", "like"

INNER_FRACTION = 0.85
"""The ranker learns from the last 15 % of the events, seen from models of the first 85 %."""

MIN_EVENTS_FOR_RANKER = 200
"""With fewer events there is nothing to learn an order from; sources are fused by rank."""


def has_ranker(dataset: Dataset) -> bool:
    """False where there are too few events or only one moment."""
    enough = len(dataset.events) >= MIN_EVENTS_FOR_RANKER
    return enough and bool(np.ptp(dataset.events.timestamps))


def predicted(liked: bool, actions: Iterable[str]) -> frozenset[str]:
    """Actions of a right answer, as the ranker's labels name them."""
    derived = {INTERACT, LIKE} if liked else {INTERACT}
    return frozenset(derived | (set(actions) - {INTERACT, LIKE}))


def require_actions(dataset: Dataset, wanted: Sequence[str]) -> None:
    """Find out before anything is trained whether the ranker can learn its actions.

    Raises:
        ConfigError: one has no event in the part that the ranker learns from.
    """
    log, named = dataset.events, [name for name in wanted if name not in (INTERACT, LIKE)]
    if not named or not has_ranker(dataset):
        return
    begin = log.timestamps[int(INNER_FRACTION * len(log))]
    places = [] if log.actions is None else log.actions[log.timestamps >= begin].tolist()
    counts = Counter(dataset.action_names[place] for place in places)
    for name in named:
        if not counts[name]:
            found = ", ".join(f"{other} ({count:,})" for other, count in counts.most_common(10))
            raise ConfigError(
                f"[ranker] actions: no event of interest in the newest {1 - INNER_FRACTION:.0%} of "
                f"the log, which the ranker learns from, has the action {name!r}; found: "
                f"{found or 'none'}.",
                f"Take {name!r} out of [ranker] actions, or train when such events were logged.",
            )
