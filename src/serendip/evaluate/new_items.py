"""Coverage and velocity of new items: were they shown in their first days, and how soon chosen.

New are the items that appeared after a cut, see ``data.items.starts``; those that appeared too late
to be watched for all their first days are left out. The log says what happened to them. A replay,
the lists of a system for the requests after the cut, says what would have happened: a place among
the first ten counts as an impression, and a choice as found if its item has such a place.

- Coverage: the share of new items that were shown at least once in their first days.
- Velocity: the interactions of a new item in its first days; in a replay those that were found.
- Places and recall of a replay: the share of all places with a new item, and the share of the
  choices of new items that were found. The unit of their intervals is the request.

An item without a time of its own appears in a replay with its first place or its first event,
whichever comes first, as it does for a service that logs impressions. The unit of the intervals is
the item.

Shapes: M new items, T requests, k length of a list, E events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from serendip.data.arrays import BoolArray, IntArray, TimeArray
from serendip.data.items.starts import DAY_S
from serendip.evaluate.intervals import RESAMPLES, Estimate, estimate
from serendip.evaluate.runs import Values

FIRST_DAYS = 7.0
"""Length of the first days of an item."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemEvents:
    """Events of new items.

    Args:
        items: (E,) int32 places of the items among the M.
        times: (E,) Unix seconds.
    """

    items: IntArray
    times: TimeArray

    def count(self, begins: TimeArray, days: float) -> Values:
        """Number of events (M,) of each item in its first days."""
        since = self.times - begins[self.items]  # (E,)
        in_time = (since >= 0) & (since < days * DAY_S)
        return np.bincount(self.items[in_time], minlength=len(begins)).astype(np.float64)

    def first(self, num_items: int) -> TimeArray:
        """Time (M,) of each item's first event; infinite = it has none."""
        first = np.full(num_items, np.inf)
        np.minimum.at(first, self.items, self.times)
        return first


@dataclass(frozen=True, slots=True, eq=False)
class NewItems:
    """New items and the log of their first days.

    Args:
        begins: (M,) Unix seconds at which they appeared, by the log.
        is_timed: (M,) bool, whether that is a time of their own and not that of their first event.
        choices: interactions.
        impressions: None = the log has none of any item.
        too_late: number of items that appeared too late to be among the M.
    """

    begins: TimeArray
    is_timed: BoolArray
    choices: ItemEvents
    impressions: ItemEvents | None
    too_late: int = 0

    def __len__(self) -> int:
        return len(self.begins)


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """Lists for the requests after the cut, by the places of the new items.

    Args:
        lists: system -> (T, k) int32 places of the shown items among the M, -1 = any other item.
        targets: (T,) int32 place of the item that was chosen, -1 = any other.
        times: (T,) Unix seconds.
    """

    lists: Mapping[str, IntArray]
    targets: IntArray
    times: TimeArray

    @classmethod
    def of(
        cls,
        lists: Mapping[str, IntArray],
        targets: IntArray,
        times: TimeArray,
        new_items: IntArray,
        num_items: int,
    ) -> Self:
        """Renumber lists and targets.

        Args:
            lists: system -> (T, k) item numbers, padded with -1.
            targets: (T,) item numbers.
            times: (T,) Unix seconds.
            new_items: (M,) item numbers.
            num_items: of all items.
        """
        places = np.full(num_items + 1, -1, np.int32)  # the last one of padding
        places[new_items] = np.arange(len(new_items))
        return cls({name: places[shown] for name, shown in lists.items()}, places[targets], times)


@dataclass(frozen=True, slots=True)
class Start:
    """What happened to new items in their first days; means over them.

    Args:
        shown: share that was shown at least once.
        impressions: number of times that an item was shown.
        choices: number of interactions of an item, in a replay those that were found.
        places: share of the places of a list with a new item; None = it is no replay.
        recall: share of the choices of new items that were found; None = it is no replay.
    """

    shown: Estimate
    impressions: Estimate
    choices: Estimate
    places: Estimate | None = None
    recall: Estimate | None = None


@dataclass(frozen=True, slots=True)
class NewItemFigures:
    """Coverage and velocity of the items that appeared after a cut; see the module's docstring.

    Args:
        days: length of the first days.
        items: M, number of new items.
        too_late: number of items that appeared in the last days and are left out.
        requests: T, number of requests of the replay.
        choices: interactions of an item by the log.
        chosen: share of the items that had one.
        logged: what the log says of the impressions; None = it has none.
        systems: system -> what a replay says.
    """

    days: float
    items: int
    too_late: int
    requests: int
    choices: Estimate
    chosen: Estimate
    logged: Start | None = None
    systems: dict[str, Start] = field(default_factory=dict)


def measure_new_items(
    new: NewItems, replay: Replay, days: float, seed: int = 0, resamples: int = RESAMPLES
) -> NewItemFigures:
    """Estimate coverage and velocity of new items, by the log and by a replay.

    Args:
        new: M items.
        replay: of the requests after the cut.
        days: length of the first days.
        seed: of the bootstrap.
        resamples: number of bootstrap draws.
    """
    draws = (seed, resamples)
    chosen = new.choices.count(new.begins, days)  # (M,)
    logged = None
    if new.impressions is not None:
        shown = new.impressions.count(new.begins, days)
        logged = _summarise(shown, chosen, draws)
    return NewItemFigures(
        days=days,
        items=len(new),
        too_late=new.too_late,
        requests=len(replay.targets),
        choices=_estimate_count(chosen, draws),
        chosen=_estimate_share(chosen > 0, draws),
        logged=logged,
        systems={
            name: _replay(lists, new, replay, days, draws) for name, lists in replay.lists.items()
        },
    )


def _replay(
    lists: IntArray, new: NewItems, replay: Replay, days: float, draws: tuple[int, int]
) -> Start:
    """What a system's lists (T, k) would have done for the new items."""
    rows, columns = np.nonzero(lists >= 0)
    places = ItemEvents(lists[rows, columns], replay.times[rows])
    is_found = (replay.targets >= 0) & (lists == replay.targets[:, None]).any(axis=1)  # (T,)
    found = ItemEvents(replay.targets[is_found], replay.times[is_found])
    earlier = np.minimum(new.begins, places.first(len(new)))
    begins = np.where(new.is_timed, new.begins, earlier)
    return replace(
        _summarise(places.count(begins, days), found.count(begins, days), draws),
        places=estimate((lists >= 0).mean(axis=1), *draws),
        recall=_estimate_share(is_found[replay.targets >= 0], draws),
    )


def _summarise(shown: Values, chosen: Values, draws: tuple[int, int]) -> Start:
    """Means over items of how often each (M,) was shown and chosen."""
    return Start(
        _estimate_share(shown > 0, draws),
        _estimate_count(shown, draws),
        _estimate_count(chosen, draws),
    )


def _estimate_share(holds: BoolArray, draws: tuple[int, int]) -> Estimate:
    return estimate(holds.astype(np.float64), *draws)


def _estimate_count(counts: Values, draws: tuple[int, int]) -> Estimate:
    return estimate(counts, *draws, (0.0, max(1.0, float(counts.max(initial=0.0)))))
