"""Requests that the ranker learns from, labelled by the events that followed.

The tasks share one model. Home: a user's history up to a moment, labelled by the user's next
events. Similar: the item of an event as the source, labelled by the next events. Search: see
``search_rows``. Cart and the page after an order: see ``basket_rows``. Logged requests of any
surface are added, labelled by the items that were chosen. Negatives are the shown items that were
not chosen, if the log has the shown items, and sampled candidates otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.dataset import QueryExamples
from serendip.data.events.repeats import Repeats
from serendip.data.events.search_log import LoggedRequest
from serendip.data.query import Query, Task, UserPast
from serendip.data.splits import Moment, Split
from serendip.engine.config.settings import Settings
from serendip.jobs.train.ranker.actions import label_actions
from serendip.jobs.train.ranker.examination import fit_examination, position_weights
from serendip.jobs.train.ranker.labelled_query import Batches, LabelledQuery, LabelledRequests
from serendip.jobs.train.ranker.search_rows import write_searches
from serendip.models.ranker.config import SearchSource

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


def mix_batches(requests: LabelledRequests) -> Batches:
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
        task = surfaces[request.surface].task
        weights = position_weights(request, examined[request.surface])
        labelled = _label_logged(request, split, task, vector, weights)
        groups.setdefault(request.surface, []).append(labelled)
    return list(groups.items())


def _label_logged(
    request: LoggedRequest,
    split: Split,
    task: Task,
    vector: FloatArray,
    weights: FloatArray,
) -> LabelledQuery:
    """A logged request as a query at its time, labelled by the actions on the chosen items.

    Args:
        request: with numbered items.
        split: has the past of its user.
        task: of its surface.
        vector: (D,) of its text.
        weights: see ``LabelledQuery``.
    """
    past = split.targets.past_before(request.user_id, request.timestamp)
    query = Query(
        task,
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
    source: SearchSource | None = "logged" if query.surface == "search" else None
    return LabelledQuery(
        query,
        request.chosen,
        labels,
        request.shown,
        weights,
        source=source,
        user_id=request.user_id,
    )


def _select_newest(requests: Sequence[LoggedRequest]) -> list[LoggedRequest]:
    """The last ``NUM_LOGGED`` requests of each surface, in the order given."""
    counts: Counter[str] = Counter()
    newest = []
    for request in reversed(requests):
        counts[request.surface] += 1
        if counts[request.surface] <= NUM_LOGGED:
            newest.append(request)
    return newest[::-1]


def build_requests(
    split: Split,
    examples: QueryExamples,
    repeats: Repeats,
    most: int,
    rng: np.random.Generator,
) -> list[tuple[Task, list[LabelledQuery]]]:
    """Requests of moments of the newer part, and of written queries, by task.

    Args:
        split: each of its targets is a moment.
        examples: written queries.
        repeats: which items of a history may come again.
        most: largest number of home requests; see ``_count_home``.
        rng: draws.
    """
    num_home, num_similar = _count_home(split, most), count_similar(split, most)
    sample = rng.permutation(len(split.targets))[: num_home + num_similar]
    moments = [split.targets.moment(int(row), NUM_NEXT_EVENTS) for row in sample]
    users = [split.targets.users[row] for row in sample.tolist()]
    due = [repeats.due(moment.past.history, moment.time) for moment in moments]
    asked = list(zip(moments, users, due, strict=True))
    home = [_home_request(*one) for one in asked[:num_home]]
    similar = []
    rows = sample[-num_similar:].tolist()
    for index, (one, row) in enumerate(zip(asked[-num_similar:], rows, strict=True)):
        page, beside = split.targets.page_before(row), split.targets.choices_beside(row)
        if page is not None:
            similar.append(_similar_request(*one, page, beside, has_history=index % 2 == 0))
    written = write_searches(examples, [moment.past for moment in moments], NUM_SEARCH, rng)
    groups: list[tuple[Task, list[LabelledQuery]]] = [
        *(("home", home), ("similar", similar), ("search", written))
    ]
    return [(task, labelled) for task, labelled in groups if labelled]


def _count_home(split: Split, most: int) -> int:
    """Number of home requests: it grows with the targets and with their users, up to ``most``."""
    of_users = max(FEWEST_HOME, HOME_PER_USER * len(set(split.targets.users)))
    return min(len(split.targets), of_users, most)


def count_similar(split: Split, most: int) -> int:
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
    moment: Moment, user_id: str, again: IntArray, page: int, beside: IntArray, has_history: bool
) -> LabelledQuery:
    """The page that led to a moment, requested with or without the user's history.

    Items chosen ``beside`` the next ones, at the same time, are no candidates: they would count as
    not chosen.
    """
    past = moment.past if has_history else UserPast()
    query = Query(
        "similar",
        source_items=np.array([page], np.int32),
        exclude=np.setdiff1d(beside, moment.items).astype(np.int32),
        history=past.history,
        rejected=past.rejected,
        again=again if has_history else NO_ITEMS,
        **_context_of(moment),
    )
    return LabelledQuery(query, moment.items, _label_moment(moment), user_id=user_id)


def with_repeats(logged: LabelledRequests, repeats: Repeats) -> LabelledRequests:
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
