"""Whether there is enough for a ranker, and whether its target actions occur.

Target actions are two derived ones, and any action of the log by its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from serendip.data import Dataset
from serendip.errors import ConfigError
from serendip.jobs.surface_quality.requests import INTERACT, LIKE

INNER_FRACTION = 0.85
"""The ranker is trained on the last 15 % of the events, with models of the first 85 %."""

MIN_EVENTS_FOR_RANKER = 200
"""With fewer events no ranker is trained; candidates are ordered by rank fusion."""


def has_ranker(dataset: Dataset) -> bool:
    """False if the dataset has too few events, or all of the same time."""
    enough = len(dataset.events) >= MIN_EVENTS_FOR_RANKER
    return enough and bool(np.ptp(dataset.events.timestamps))


def require_actions(dataset: Dataset, wanted: Sequence[str]) -> None:
    """Check, before any training, that the ranker's training data contain its target actions.

    Raises:
        ConfigError: an action has no event in the part that the ranker is trained on.
    """
    log, names = dataset.events, [name for name in wanted if name not in (INTERACT, LIKE)]
    if not names or not has_ranker(dataset):
        return
    begin = log.timestamps[int(INNER_FRACTION * len(log))]
    numbers = [] if log.actions is None else log.actions[log.timestamps >= begin].tolist()
    counts = Counter(dataset.action_names[number] for number in numbers)
    for name in names:
        if not counts[name]:
            present = ", ".join(f"{other} ({count:,})" for other, count in counts.most_common(10))
            raise ConfigError(
                f"[ranker] actions: no event of interest in the newest {1 - INNER_FRACTION:.0%} of "
                f"the log, which the ranker is trained on, has the action {name!r}; present: "
                f"{present or 'none'}.",
                f"Remove {name!r} from [ranker] actions, or train after such events were logged.",
            )
