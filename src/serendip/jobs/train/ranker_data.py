"""Training rows of the ranker: candidates of requests, labelled by the events that followed.

The three tasks share one model. Home: a user's history up to a moment, labelled by the user's next
events. Similar: the item of an event as the source, labelled by the next events. Search: see
``search_rows``. Logged requests of any surface are added, labelled by the items that were chosen.
Negatives are the shown items that were not chosen, if the log has the shown items, and sampled
candidates otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray
from serendip.data.dataset import QueryExamples
from serendip.data.query import TASKS, Query, UserPast
from serendip.data.repeats import Repeats
from serendip.data.search_log import LoggedRequest
from serendip.data.splits import Moment, Split
from serendip.engine.feature_names import features_without_interactions
from serendip.engine.settings import Settings
from serendip.engine.stages.pipeline import collect
from serendip.engine.state import EngineState
from serendip.jobs.train.examination import fit_examination, position_weights
from serendip.jobs.train.labelled_query import LabelledQuery, LabelledRequests
from serendip.jobs.train.popularity_discount import learn_discounts
from serendip.jobs.train.ranker_actions import label_actions
from serendip.jobs.train.search_rows import (
    SEARCH,
    count_searches,
    orders_search,
    weigh_searches,
    write_searches,
)
from serendip.models.ranker.config import RankerRows, SearchSource
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import TrainOptions

NUM_SEARCH = 1_000
"""Number of synthetic queries, and the smallest number of requests for similar items."""

HOME_PER_USER, FEWEST_HOME = 25, 3_000
"""Home requests for each user of the newer part, on average at most, and the number up to which
that does not count. Requests of one user are alike: more of them from few users teach these
users."""

HOME_PER_SIMILAR = 3
"""Home requests for each request for similar items, once there are enough of both."""

NUM_LOGGED = 3_000
"""Largest number of logged requests per surface; the newest ones."""

NEGATIVES = 40
"""Largest number of negatives per request."""

NUM_NEXT_EVENTS = 5
"""Number of the user's next events that are positives."""

BATCH = 64

_SHARE_FOR_ROWS = 0.8
"""Share of the ranker's time for its rows; the rest is for its training."""


def train_ranker(
    state: EngineState,
    split: Split,
    examples: QueryExamples,
    labelled: LabelledRequests,
    settings: Settings,
    options: TrainOptions,
) -> Ranker | None:
    """Train the ranker on requests of the newer part of a split.

    Args:
        state: fitted on the older part, with the items of the newer part appended.
        split: both parts, items numbered as in ``state``.
        examples: written queries, items numbered as in ``state``.
        labelled: logged requests of the newer part, and queries with labels.
        settings: surfaces and the ranker's config.
        options: seed and progress.

    Returns:
        the ranker; None if no candidate was a positive.
    """
    rng = np.random.default_rng(options.seed)
    built = _build_requests(split, examples, state.repeats, settings.ranker.most_requests, rng)
    searches = settings.ranker.searches
    requests = weigh_searches([*built, *_with_repeats(labelled, state.repeats)], searches)
    total = sum(len(of_surface) for _, of_surface in requests)
    batches = _mix_batches(requests)
    time_for_rows = options.allowance.from_now(_SHARE_FOR_ROWS)
    parts: list[RankerRows] = []
    sources: list[SearchSource | None] = []
    for surface, batch in options.progress.track(batches, "ranker rows", len(batches)):
        if time_for_rows.is_over and parts:
            time_for_rows.cut(len(sources) / total)
            continue
        parts.append(build_rows(batch, surface, state, settings, len(sources), rng))
        sources += [one.source for one in batch]
    rows = _concatenate([part for part in parts if len(part.features)])
    if rows is None:
        return None
    unseen = features_without_interactions(state.feature_names, state.mean_quality)
    rows = replace(rows, unseen=unseen)
    found = count_searches(rows, sources)
    ordered = [task for task in range(len(TASKS)) if task != SEARCH]
    ordered += [SEARCH] if orders_search(found, searches) else []
    ranker = Ranker(settings.ranker).train(rows, state.feature_names, options, ordered)
    ranker.discounts = learn_discounts(ranker, rows, settings)
    ranker.searches = found
    return ranker


def _mix_batches(
    requests: Sequence[tuple[str, Sequence[LabelledQuery]]],
) -> list[tuple[str, Sequence[LabelledQuery]]]:
    """Requests in batches of one surface; the first of them are a sample of all surfaces."""
    batches = [
        ((begin + BATCH) / len(labelled), surface, labelled[begin : begin + BATCH])
        for surface, labelled in requests
        for begin in range(0, len(labelled), BATCH)
    ]
    batches.sort(key=lambda batch: batch[0])
    return [(surface, labelled) for _, surface, labelled in batches]


def label_logged_requests(
    split: Split, settings: Settings, encode: Callable[[Sequence[str]], FloatArray]
) -> LabelledRequests:
    """The newest logged requests of the newer part, by surface.

    Unknown surfaces are left out, and surfaces that need items, which the log does not have.
    """
    surfaces = settings.all_surfaces()
    usable = [
        request
        for request in split.requests
        if request.says_something
        and request.surface in surfaces
        and surfaces[request.surface].needs in ("", "query" if request.text else "")
    ]
    usable = _select_newest(usable)
    examined = {
        name: fit_examination([request for request in usable if request.surface == name])
        for name in {request.surface for request in usable}
    }
    vectors = encode([request.text for request in usable])
    groups: dict[str, list[LabelledQuery]] = {}
    for request, vector in zip(usable, vectors, strict=True):
        past = split.targets.past_before(request.user_id, request.timestamp)
        query = Query(
            surfaces[request.surface].task,
            text=request.text,
            text_vector=vector if request.text else None,
            user_id=request.user_id,
            history=past.history,
            rejected=past.rejected,
            time=request.timestamp,
            country=request.country or past.country,
            device=request.device,
        )
        actions = request.actions or [frozenset()] * len(request.chosen)
        labels = list(map(label_actions, request.liked.tolist(), actions))
        weights = position_weights(request, examined[request.surface])
        source: SearchSource | None = "logged" if query.surface == "search" else None
        labelled = LabelledQuery(
            query, request.chosen, labels, request.shown, weights, source=source
        )
        groups.setdefault(request.surface, []).append(labelled)
    return list(groups.items())


def _select_newest(requests: Sequence[LoggedRequest]) -> list[LoggedRequest]:
    """The last ``NUM_LOGGED`` requests of each surface, in the order given."""
    counts: Counter[str] = Counter()
    newest = []
    for request in reversed(requests):
        counts[request.surface] += 1
        if counts[request.surface] <= NUM_LOGGED:
            newest.append(request)
    return newest[::-1]


def _build_requests(
    split: Split,
    examples: QueryExamples,
    repeats: Repeats,
    most: int,
    rng: np.random.Generator,
) -> list[tuple[str, list[LabelledQuery]]]:
    """Requests of moments of the newer part, and of written queries, by surface.

    Args:
        split: each of its targets is a moment.
        examples: written queries.
        repeats: which items of a history may come again.
        most: largest number of home requests; see ``_count_home``.
        rng: draws.
    """
    num_home = _count_home(split, most)
    num_similar = max(NUM_SEARCH, num_home // HOME_PER_SIMILAR)
    sample = rng.permutation(len(split.targets))[: num_home + num_similar]
    moments = [split.targets.moment(int(row), NUM_NEXT_EVENTS) for row in sample]
    times = split.targets.times[sample].tolist()
    home = [
        _home_request(moment, repeats.due(moment.past.history, time))
        for moment, time in zip(moments[:num_home], times, strict=False)
    ]
    similar = [
        _similar_request(moment, index % 2 == 0, repeats.due(moment.past.history, moment.time))
        for index, moment in enumerate(moments[-num_similar:])
        if len(moment.past.history)
    ]
    written = write_searches(examples, [moment.past for moment in moments], NUM_SEARCH, rng)
    groups = [("home", home), ("similar", similar), ("search", written)]
    return [(surface, labelled) for surface, labelled in groups if labelled]


def _count_home(split: Split, most: int) -> int:
    """Number of home requests: it grows with the targets and with their users, up to ``most``."""
    of_users = max(FEWEST_HOME, HOME_PER_USER * len(set(split.targets.users)))
    return min(len(split.targets), of_users, most)


def _home_request(moment: Moment, again: IntArray) -> LabelledQuery:
    """The home page at a moment, when some items of the history may come again."""
    past = moment.past
    query = Query(
        "home",
        history=past.history,
        rejected=past.rejected,
        again=again,
        **_context_of(moment),
    )
    return LabelledQuery(query, moment.items, _label_moment(moment))


def _context_of(moment: Moment) -> dict[str, Any]:
    """Fields of a query with the context of a moment."""
    return {"time": moment.time, "country": moment.country, "device": moment.device}


def _similar_request(moment: Moment, has_history: bool, again: IntArray) -> LabelledQuery:
    """The page of the user's last item, requested with or without the user's history."""
    past = moment.past if has_history else UserPast()
    source = moment.past.history.item_nums[-1:]
    query = Query(
        "similar",
        source_items=source,
        history=past.history,
        rejected=past.rejected,
        again=again if has_history else NO_ITEMS,
        **_context_of(moment),
    )
    return LabelledQuery(query, moment.items, _label_moment(moment))


def _with_repeats(logged: LabelledRequests, repeats: Repeats) -> LabelledRequests:
    """Logged requests with the items that might come again at their time."""
    return [
        (
            surface,
            [
                replace(one, query=replace(one.query, again=repeats.due(one.query.history, time)))
                for one, time in ((one, one.query.time) for one in labelled)
            ],
        )
        for surface, labelled in logged
    ]


def _label_moment(moment: Moment) -> list[frozenset[str]]:
    """Labels of each of the next items."""
    actions = moment.actions or [""] * len(moment.items)
    return [
        label_actions(liked, [action])
        for liked, action in zip(moment.liked.tolist(), actions, strict=True)
    ]


def build_rows(
    labelled: Sequence[LabelledQuery],
    surface: str,
    state: EngineState,
    settings: Settings,
    first_group: int,
    rng: np.random.Generator,
) -> RankerRows:
    """Build the rows of a batch of requests: positives and negatives among the candidates.

    Requests without known shown items are left out if no source proposed a positive. Requests are
    numbered from ``first_group`` on.
    """
    config = settings.all_surfaces()[surface]
    queries = [request.query for request in labelled]
    shown = [request.shown for request in labelled]
    candidates, features = collect(queries, config, state, shown)
    actions = settings.ranker.actions
    labels = np.zeros((len(candidates), len(actions)), dtype=np.float32)
    weights = np.ones(len(candidates), dtype=np.float32)
    selected: list[NDArray[np.intp]] = []
    for row, (begin, end) in enumerate(pairwise(candidates.bounds(len(labelled)))):
        items = candidates.items[begin:end]
        chosen = np.isin(items, labelled[row].items)
        if not chosen.any() and not len(shown[row]):
            continue
        for column, action in enumerate(actions):
            labels[begin:end, column] = np.isin(items, labelled[row].items_with(action))
        weights[begin:end] = labelled[row].weights_of(items)
        negatives = _choose_negatives(labelled[row], items, chosen, rng)
        selected.append(begin + np.sort(np.concatenate([np.flatnonzero(chosen), negatives])))
    rows = np.concatenate(selected) if selected else np.empty(0, np.intp)
    return RankerRows(
        features=features[rows],
        task=np.full(len(rows), TASKS.index(config.task), dtype=np.int64),
        labels=labels[rows],
        weights=weights[rows],
        group=first_group + candidates.rows[rows],
    )


def _choose_negatives(
    labelled: LabelledQuery, items: IntArray, chosen: BoolArray, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Places of at most ``NEGATIVES`` of the candidates (C,) that were not chosen.

    Those labelled as irrelevant come first, the rest is drawn: from the shown items if these are
    known.
    """
    known = np.flatnonzero(np.isin(items, labelled.irrelevant) & ~chosen)[:NEGATIVES]
    is_open = ~chosen
    is_open[known] = False
    if len(labelled.shown):
        is_open &= np.isin(items, labelled.shown)
    others = np.flatnonzero(is_open)
    count = min(NEGATIVES - len(known), len(others))
    return np.concatenate([known, rng.choice(others, count, replace=False)])


def _concatenate(parts: Sequence[RankerRows]) -> RankerRows | None:
    """All rows; None without any part."""
    if not parts:
        return None
    return RankerRows(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("features", "task", "labels", "weights", "group")
        }
    )
