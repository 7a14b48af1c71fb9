"""Coverage and velocity of new items: were they shown in their first days, and how soon chosen.

New are the items that appeared after a cut, see ``data.items.reception``; those that appeared too
late to be watched for all their first days are left out. The log says what happened to them. A
replay, the lists of a system for the requests after the cut, says what would have happened: a
place among the first ten counts as an impression, and a choice as found if its item has one.

- Coverage: the share of new items that were shown at least once in their first days.
- Velocity: the interactions of a new item in its first days; in a replay those that were found.
- Places and recall of a replay: the share of all places with a new item, and the share of the
  choices of new items that were found. The unit of their intervals is the request.

An item without a time of its own appears in a replay with its first place or its first event,
whichever comes first, as it does for a service that logs impressions. The unit of the intervals is
the item.

**How often explored items are chosen**, without the bias of their selection. Exploration draws
promising items more often, so the plain share of explored items that were chosen says how good the
draws are, not how good new items are. Weighed by 1 / propensity, every item that could have been
drawn counts alike (Horvitz and Thompson 1952). The estimate is self-normalised, sum(w y) / sum(w),
which stays between 0 and 1 (Swaminathan and Joachims 2015, "The Self-Normalized Estimator for
Counterfactual Learning"), and weights are clipped: w = min(1 / propensity, ``MOST_WEIGHT``), so
that one lucky draw does not decide. Clipping lowers the weight of the least promising items;
``clipped`` says how many impressions it changes. The 95 % interval is a bootstrap over users of the
estimate, linearised: user u has the value r + U (a_u - r b_u) / sum(b), where r = sum(a) / sum(b),
a_u = sum of w y and b_u = sum of w of u.

Shapes: M new items, N items, T requests, k length of a list, E events, S impressions of explored
items, U users who had one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from serendip.data import BoolArray, Dataset, IntArray, TimeArray
from serendip.data.events.search_log import LoggedRequest
from serendip.data.items.reception import DAY_S, find_starts
from serendip.data.splits import Split, Targets
from serendip.evaluate.intervals import Estimate, estimate
from serendip.evaluate.runs import Values

FIRST_DAYS = 7.0
"""Length of the first days of an item."""


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
        choices: interactions of an item by the log.
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
    dataset: Dataset,
    split: Split,
    choices: Targets,
    lists: Mapping[str, IntArray],
    seed: int = 0,
) -> NewItemFigures:
    """Estimate coverage and velocity of new items, by the log and by a replay.

    New are the items that the split does not train on and that appeared from its cut on; a system
    has lists (T, k) for the choices of its test part.
    """
    candidates = np.arange(split.train.num_items, len(split.catalogue), dtype=np.int32)
    ids = split.catalogue.vocabulary.ids_of(candidates)
    in_dataset = dataset.catalogue.vocabulary.numbers(ids)
    starts = find_starts(dataset)[in_dataset]
    appeared = np.isfinite(starts) & (starts >= split.cut)
    logs = (dataset.events, dataset.impressions)
    end = max((float(log.timestamps[-1]) for log in logs if len(log)), default=-np.inf)
    is_whole = starts + FIRST_DAYS * DAY_S <= end
    kept = np.flatnonzero(appeared & is_whole)
    begins, numbers = starts[kept], in_dataset[kept]
    is_timed = np.isfinite(np.asarray(dataset.catalogue.available_from)[numbers])  # (M,)

    in_log = _place(numbers, dataset.num_items)
    chosen, shown = (_count(in_log[log.items], log.timestamps, begins) for log in logs)
    in_split = _place(candidates[kept], len(split.catalogue))
    targets = in_split[choices.items], choices.times
    return NewItemFigures(
        days=FIRST_DAYS,
        items=len(kept),
        too_late=int((appeared & ~is_whole).sum()),
        requests=len(choices),
        choices=_estimate_count(chosen, seed),
        chosen=_estimate_share(chosen > 0, seed),
        logged=_summarise(shown, chosen, seed) if len(dataset.impressions) else None,
        systems={
            name: _replay(in_split[of_system], targets, (begins, is_timed), seed)
            for name, of_system in lists.items()
        },
    )


def _place(items: IntArray, num_items: int) -> IntArray:
    """(N + 1,) place of each item among the new ones (M,), -1 = it is none; padding comes last."""
    places = np.full(num_items + 1, -1, np.int32)
    places[items] = np.arange(len(items))
    return places


def _count(places: IntArray, times: TimeArray, begins: TimeArray) -> Values:
    """(M,) number of events (E,) of each new item in its first days."""
    since = times - np.append(begins, np.inf)[places]  # (E,)
    in_time = (since >= 0) & (since < FIRST_DAYS * DAY_S)
    return np.bincount(places[in_time], minlength=len(begins)).astype(np.float64)


def _replay(
    shown: IntArray,
    targets: tuple[IntArray, TimeArray],
    starts: tuple[TimeArray, BoolArray],
    seed: int,
) -> Start:
    # What lists (T, k) would have done for the new items. Targets are the places (T,) of the chosen
    # items and the times of the requests; starts the times (M,) at which items appeared by the log,
    # and whether these are their own.
    (wanted, times), (begins, is_timed) = targets, starts
    rows, columns = np.nonzero(shown >= 0)
    first = np.full(len(begins), np.inf)
    np.minimum.at(first, shown[rows, columns], times[rows])
    begins = np.where(is_timed, begins, np.minimum(begins, first))
    is_found = (wanted >= 0) & (shown == wanted[:, None]).any(axis=1)  # (T,)
    return replace(
        _summarise(
            _count(shown[rows, columns], times[rows], begins),
            _count(wanted[is_found], times[is_found], begins),
            seed,
        ),
        places=estimate((shown >= 0).mean(axis=1), seed),
        recall=_estimate_share(is_found[wanted >= 0], seed),
    )


def _summarise(shown: Values, chosen: Values, seed: int) -> Start:
    """Means over items of how often each (M,) was shown and chosen."""
    return Start(
        _estimate_share(shown > 0, seed),
        _estimate_count(shown, seed),
        _estimate_count(chosen, seed),
    )


def _estimate_share(holds: BoolArray, seed: int) -> Estimate:
    return estimate(holds.astype(np.float64), seed)


def _estimate_count(counts: Values, seed: int) -> Estimate:
    return estimate(counts, seed, support=(0.0, max(1.0, float(counts.max(initial=0.0)))))


MOST_WEIGHT = 100.0


@dataclass(frozen=True, slots=True)
class ExplorationFigures:
    """What the log says of explored items; see the module's docstring.

    Args:
        clipped: impressions with the largest weight.
        rate: estimated share of new items that are chosen where they are shown.
    """

    impressions: int
    choices: int
    clipped: int
    most_weight: float
    rate: Estimate


def measure_exploration(
    requests: Sequence[LoggedRequest],
    seed: int = 0,
    most_weight: float = MOST_WEIGHT,
) -> ExplorationFigures:
    """Estimate how often new items are chosen, from all explored impressions.

    Requests without a propensity count nowhere; weights are clipped to ``most_weight``.
    """
    parts = [_explored_of(request) for request in requests if len(request.propensities)]
    if not sum(len(drawn) for drawn, _ in parts):
        return ExplorationFigures(0, 0, 0, most_weight, Estimate(None, None, None, 0))
    drawn, chosen = (np.concatenate(part) for part in zip(*parts, strict=True))  # (S,) each
    ids = [request.user_id for request in requests if len(request.propensities)]
    of_request = np.repeat(np.array(ids), [len(drawn) for drawn, _ in parts])  # (S,)
    users = np.unique(of_request, return_inverse=True)[1].reshape(-1)
    inverse = 1.0 / drawn
    weights = np.minimum(inverse, most_weight)
    gains, bases = np.bincount(users, weights * chosen), np.bincount(users, weights)  # (U,) each
    rate = gains.sum() / bases.sum()
    values = rate + len(bases) * (gains - rate * bases) / bases.sum()  # (U,); their mean is rate
    found = estimate(values, seed)
    low, high = (
        None if end is None else min(max(end, 0.0), 1.0) for end in (found.low, found.high)
    )
    return ExplorationFigures(
        len(inverse),
        int(chosen.sum()),
        int((inverse > most_weight).sum()),
        most_weight,
        Estimate(float(rate), low, high, len(bases)),
    )


def _explored_of(request: LoggedRequest) -> tuple[Values, BoolArray]:
    is_known = ~np.isnan(request.propensities)  # (S,)
    return request.propensities[is_known], np.isin(request.shown[is_known], request.chosen)
