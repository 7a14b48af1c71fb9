"""Training rows of the ranker: candidates of requests, labelled by the events that followed.

The tasks share one model. Home: a user's history up to a moment, labelled by the user's next
events. Similar: the item of an event as the source, labelled by the next events. Search: see
``search_rows``. Cart and the page after an order: see ``basket_rows``. Logged requests of any
surface are added, labelled by the items that were chosen. Negatives are the shown items that were
not chosen, if the log has the shown items, and sampled candidates otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, TimeArray
from serendip.data.dataset import QueryExamples
from serendip.data.query import TASKS, Query, UserPast
from serendip.data.repeats import Repeats
from serendip.data.search_log import LoggedRequest
from serendip.data.splits import Moment, Split
from serendip.engine.feature_names import context_parts, features_without_interactions
from serendip.engine.settings import Settings
from serendip.engine.state import EngineState
from serendip.jobs.train.basket_rows import (
    BASKET_TASKS,
    SampledBaskets,
    build_basket_requests,
    choose_basket_orders,
    with_tasks,
)
from serendip.jobs.train.context_choice import (
    SAMPLE,
    ContextChoice,
    SampledRows,
    can_choose,
    choose_parts,
)
from serendip.jobs.train.examination import fit_examination, position_weights
from serendip.jobs.train.labelled_query import Batches, LabelledQuery, LabelledRequests
from serendip.jobs.train.popularity_discount import learn_discounts
from serendip.jobs.train.ranker_actions import label_actions
from serendip.jobs.train.ranker_rows import HERE, CandidateLabeller, RowMaking, can_compare
from serendip.jobs.train.search_order_choice import SampledSearches, choose_search_order
from serendip.jobs.train.search_rows import SEARCH, weigh_searches, write_searches
from serendip.models.context_counts import AUTO, ContextCounts, ContextPart
from serendip.models.ranker.config import SearchSource
from serendip.models.ranker.model import Ranker
from serendip.models.ranker.search_order import SearchOrder
from serendip.runtime.progress import TrainOptions

NUM_SEARCH = 1_000
"""Number of synthetic queries, and up to which the number of other requests does not limit those
for similar items and those of each kind of basket."""

HOME_PER_USER, FEWEST_HOME = 25, 3_000
"""Home requests for each user of the newer part, on average at most, and the number up to which
that does not count. Requests of one user are alike: more of them from few users teach these
users."""

HOME_PER_SIMILAR = 3
"""Home requests for each request for similar items, and for each of each kind of basket, once there
are enough of both."""

NUM_LOGGED = 3_000
"""Largest number of logged requests per surface; the newest ones."""


NUM_NEXT_EVENTS = 5
"""Number of the user's next events that are positives."""

BATCH = 64

_BASKETS = 1
"""Number of the random draws for baskets among those of one seed."""


@dataclass(frozen=True, slots=True, eq=False)
class RankerFit:
    """A ranker and what it reads.

    Args:
        ranker: trained.
        context: whose features it has.
        choice: how the parts of it were chosen.
    """

    ranker: Ranker
    context: ContextCounts
    choice: ContextChoice


def train_ranker(
    state: EngineState,
    split: Split,
    examples: QueryExamples,
    labelled: LabelledRequests,
    settings: Settings,
    options: TrainOptions,
    in_force: SearchOrder | None = None,
    labeller: CandidateLabeller = HERE,
) -> RankerFit | None:
    """Train the ranker on requests of the newer part of a split.

    Where the settings leave it to the training which parts of the context are read, they are chosen
    on the rows of the first requests, which are a sample of all (``context_choice``).

    Args:
        state: fitted on the older part, with the items of the newer part appended.
        split: both parts, items numbered as in ``state``.
        examples: written queries, items numbered as in ``state``.
        labelled: logged requests of the newer part, and queries with labels.
        settings: surfaces and the ranker's config.
        options: seed and progress.
        in_force: what orders search in the generation in force; None = there is none.
        labeller: labels the candidates, from the same state.

    Returns:
        the ranker and the context that it reads; None if no candidate was a positive.
    """
    rng = np.random.default_rng(options.seed)
    most = settings.ranker.most_requests
    built = _build_requests(split, examples, state.repeats, most, rng)
    asked = [*built, *_with_repeats(labelled, state.repeats)]
    requests = weigh_searches(asked, settings.ranker.searches)
    # Draws of their own, and after all others: where nothing is learned of them, nothing changes.
    apart, count = np.random.default_rng([options.seed, _BASKETS]), _count_similar(split, most)
    of_baskets = build_basket_requests(split, state.repeats, settings, count, apart)
    total = sum(len(of_surface) for _, of_surface in (*requests, *of_baskets))
    surfaces = settings.all_surfaces()
    deciding = Counter(
        request.source
        for surface, of_surface in requests
        for request in of_surface
        if can_compare(request, surfaces[surface])
    )
    making = RowMaking(settings, options, total, deciding, rng, labeller)
    state, choice, batches = _choose_context(state, _mix_batches(requests), making)
    making.add([*batches, *_mix_batches(of_baskets)], state)
    rows = making.rows()
    if rows is None:
        return None
    unseen = features_without_interactions(state.feature_names, state.mean_quality)
    rows = replace(rows, unseen=unseen)
    baskets = SampledBaskets(rows, state.feature_names, making.made)
    # Baskets were made last: what is left has the numbers that it has without them.
    others = [made for made in making.made if made.query.surface not in BASKET_TASKS]
    searches = SampledSearches(
        *(baskets.without(BASKET_TASKS), state.feature_names, others, making.compared)
    )
    order = choose_search_order(searches, settings, options, in_force)
    orders = choose_basket_orders(baskets, settings, options)
    as_similar = [
        task for task in BASKET_TASKS if task not in orders or not orders[task].is_learned
    ]
    rows = baskets.without(as_similar)
    ordered = {number for number, task in enumerate(TASKS) if task not in as_similar} - {SEARCH}
    ordered |= {SEARCH} if order.by_ranker else set()
    config = with_tasks(settings.ranker, ordered)
    ranker = Ranker(config).train(rows, state.feature_names, options, sorted(ordered))
    ranker.discounts = learn_discounts(ranker, rows, settings)
    ranker.search_order, ranker.basket_orders = order, orders
    return RankerFit(ranker, state.context, choice)


def _choose_context(
    state: EngineState, batches: Batches, making: RowMaking
) -> tuple[EngineState, ContextChoice, Batches]:
    """Choose the parts of the context that the ranker reads, on the rows of the first requests.

    Returns:
        the state with the chosen parts, the choice, and the batches that have no rows yet.
    """
    parts = state.context.present
    if making.settings.context.features != AUTO:
        return state, ContextChoice(parts, note="the settings name them"), batches
    plain = replace(state, context=state.context.with_parts(frozenset(), state.num_items))
    count = _count_first(batches, SAMPLE)
    sampled = [request for _, labelled in batches[:count] for request in labelled]
    times = np.array([request.query.time for request in sampled])
    if note := _reason_for_none(parts, times, making.options):
        return plain, ContextChoice(note=note), batches
    making.add(batches[:count], state)
    rows, names = making.rows(), state.feature_names
    if rows is None:
        return plain, ContextChoice(note="no request has a choice"), batches[count:]
    sample = SampledRows(rows, names, times, [request.user_id for request in sampled])
    choice = choose_parts(sample, parts, making.settings, making.options)
    kept = sample.columns_with(choice.kept, parts)  # (F,)
    making.keep_columns(kept)
    read = context_parts([name for name, is_kept in zip(names, kept, strict=True) if is_kept])
    context = state.context.with_parts(read, state.num_items)
    return replace(state, context=context), choice, batches[count:]


def _reason_for_none(parts: Sequence[ContextPart], times: TimeArray, options: TrainOptions) -> str:
    """Why no part is tested on requests at times (Q,); empty if parts are."""
    if not parts:
        return "the data have no context"
    if options.allowance.is_over:
        return "there was no time for the tests"
    return "" if can_choose(times) else "the newest requests are too few"


def _count_first(batches: Batches, requests: int) -> int:
    """Number of the first batches that have a number of requests together, or of all."""
    sizes = np.cumsum([len(labelled) for _, labelled in batches])
    return min(len(batches), int(np.searchsorted(sizes, requests)) + 1)


def _mix_batches(requests: LabelledRequests) -> Batches:
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
            session=request.session,
            user_groups=past.groups,
        )
        actions = request.actions or [frozenset()] * len(request.chosen)
        labels = list(map(label_actions, request.liked.tolist(), actions))
        weights = position_weights(request, examined[request.surface])
        source: SearchSource | None = "logged" if query.surface == "search" else None
        labelled = LabelledQuery(
            query,
            request.chosen,
            labels,
            request.shown,
            weights,
            source=source,
            user_id=request.user_id,
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
    num_home, num_similar = _count_home(split, most), _count_similar(split, most)
    sample = rng.permutation(len(split.targets))[: num_home + num_similar]
    moments = [split.targets.moment(int(row), NUM_NEXT_EVENTS) for row in sample]
    users = [split.targets.users[row] for row in sample.tolist()]
    due = [repeats.due(moment.past.history, moment.time) for moment in moments]
    asked = list(zip(moments, users, due, strict=True))
    home = [_home_request(*one) for one in asked[:num_home]]
    pages = [split.targets.page_before(int(row)) for row in sample[-num_similar:]]
    similar = [
        _similar_request(*one, page, has_history=index % 2 == 0)
        for index, (one, page) in enumerate(zip(asked[-num_similar:], pages, strict=True))
        if page is not None
    ]
    written = write_searches(examples, [moment.past for moment in moments], NUM_SEARCH, rng)
    groups = [("home", home), ("similar", similar), ("search", written)]
    return [(surface, labelled) for surface, labelled in groups if labelled]


def _count_home(split: Split, most: int) -> int:
    """Number of home requests: it grows with the targets and with their users, up to ``most``."""
    of_users = max(FEWEST_HOME, HOME_PER_USER * len(set(split.targets.users)))
    return min(len(split.targets), of_users, most)


def _count_similar(split: Split, most: int) -> int:
    """Largest number of requests for similar items, and of requests of each kind of basket."""
    return max(NUM_SEARCH, _count_home(split, most) // HOME_PER_SIMILAR)


def _home_request(moment: Moment, user_id: str, again: IntArray) -> LabelledQuery:
    """The home page at a moment of a user, when some items of the history may come again."""
    past = moment.past
    query = Query(
        "home",
        history=past.history,
        rejected=past.rejected,
        again=again,
        **_context_of(moment),
    )
    return LabelledQuery(query, moment.items, _label_moment(moment), user_id=user_id)


def _context_of(moment: Moment) -> dict[str, Any]:
    """Fields of a query with the context of a moment."""
    return {
        "time": moment.time,
        "country": moment.country,
        "device": moment.device,
        "session": moment.session,
        "user_groups": moment.past.groups,
    }


def _similar_request(
    moment: Moment, user_id: str, again: IntArray, page: int, has_history: bool
) -> LabelledQuery:
    """The page that led to a moment, requested with or without the user's history."""
    past = moment.past if has_history else UserPast()
    query = Query(
        "similar",
        source_items=np.array([page], np.int32),
        history=past.history,
        rejected=past.rejected,
        again=again if has_history else NO_ITEMS,
        **_context_of(moment),
    )
    return LabelledQuery(query, moment.items, _label_moment(moment), user_id=user_id)


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
