"""Training rows of the unified ranker: candidates of real requests, labelled by what came next.

Three tasks share one model. Home: a user's history up to a moment, labelled by the user's next
events. Similar: the item of one event as the source, labelled by the events right after it.
Search: a written query, labelled by the item that it was written for. Beside these, the requests
that were logged, labelled by what was chosen: where it is known what was shown, that and nothing
else was refused; where it is not, and in all others, refused candidates are drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.dataset import QueryExamples
from serendip.data.query import TASKS, Query, UserPast
from serendip.data.search_log import LoggedRequest
from serendip.data.splits import Moment, Split
from serendip.engine.settings import Settings
from serendip.engine.stages.pipeline import collect
from serendip.engine.state import EngineState
from serendip.jobs.train.ranker_actions import predicted
from serendip.models.ranker.config import RankerRows
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import TrainOptions

NUM_HOME, NUM_SIMILAR, NUM_SEARCH = 3_000, 1_000, 1_000
NUM_LOGGED = 3_000
"""Newest logged requests of a surface that become rows."""

FEWEST_SEARCHES = 200
"""With fewer logged searches that led to a choice, the ranker knows of search what written queries
say, which favour words far more than people do: it learns from them and does not order by them.
With as many it learns search from these alone. The number is a guess, not measured."""

NEGATIVES = 40
"""Candidates without a label that are kept per request."""

FUTURE = 5
"""So many of the user's following events are right answers."""

BATCH = 64


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A request and its right answers.

    Args:
        query: the request.
        items: (P,) int32 items that were chosen.
        actions: of each what was done with it, as the ranker's labels name it.
        shown: what was answered, chosen or not; empty = not known.
    """

    query: Query
    items: IntArray
    actions: Sequence[frozenset[str]]
    shown: IntArray = field(default_factory=lambda: NO_ITEMS)

    def having(self, action: str) -> IntArray:
        """Items with which that was done."""
        return self.items[[action in done for done in self.actions]]


def train_ranker(
    state: EngineState,
    split: Split,
    examples: QueryExamples,
    settings: Settings,
    options: TrainOptions,
    encode: Callable[[Sequence[str]], FloatArray],
) -> Ranker | None:
    """Train the ranker on requests of the newer part of a split.

    Args:
        state: fitted on the older part, with the newer part's items appended.
        split: the two parts; its numbering is the state's.
        examples: written queries, items numbered as in the split.
        settings: surfaces and the ranker's config.
        options: seed and progress.
        encode: typed texts to their vectors.

    Returns:
        the ranker; None where no candidate was a right answer.
    """
    rng = np.random.default_rng(options.seed)
    logged = logged_queries(split, settings, encode)
    searches = sum(bool(one.query.text) and len(one.items) > 0 for _, own in logged for one in own)
    knows_search = searches >= FEWEST_SEARCHES
    requests = [*_requests(split, None if knows_search else examples, rng), *logged]
    total = sum(len(labelled) for _, labelled in requests)
    batches = [
        (surface, labelled[begin : begin + BATCH])
        for surface, labelled in requests
        for begin in range(0, len(labelled), BATCH)
    ]
    parts: list[RankerRows] = []
    groups = 0
    for surface, labelled in options.progress.track(batches, "ranker rows", len(batches)):
        parts.append(labelled_rows(labelled, surface, state, settings, groups, rng))
        groups += len(labelled)
    assert groups == total
    rows = _joined([part for part in parts if len(part.features)])
    if rows is None:
        return None
    ordered = [TASKS.index(task) for task in TASKS if task != "search" or knows_search]
    return Ranker(settings.ranker).train(rows, state.feature_names, options, ordered)


def logged_queries(
    split: Split, settings: Settings, encode: Callable[[Sequence[str]], FloatArray]
) -> list[tuple[str, list[LabelledQuery]]]:
    """The newest logged requests of each surface in the newer part, as they were asked.

    Left out: surfaces that there are not, and those that need items, of which the log says nothing.
    """
    surfaces = settings.all_surfaces()
    usable = [
        one
        for one in split.requests
        if one.says_something
        and one.surface in surfaces
        and surfaces[one.surface].needs in ("", "query" if one.text else "")
    ]
    usable = _newest(usable)
    vectors = encode([one.text for one in usable])
    groups: dict[str, list[LabelledQuery]] = {}
    for one, vector in zip(usable, vectors, strict=True):
        past = split.targets.past_before(one.user_id, one.timestamp)
        query = Query(
            surfaces[one.surface].task,
            text=one.text,
            text_vector=vector if one.text else None,
            user_id=one.user_id,
            history=past.history,
            rejected=past.rejected,
            time=one.timestamp,
        )
        actions = one.actions or [frozenset()] * len(one.chosen)
        done = list(map(predicted, one.liked.tolist(), actions))
        labelled = LabelledQuery(query, one.chosen, done, one.shown)
        groups.setdefault(one.surface, []).append(labelled)
    return list(groups.items())


def _newest(requests: Sequence[LoggedRequest]) -> list[LoggedRequest]:
    """The last ``NUM_LOGGED`` of each surface, in the order given."""
    left: Counter[str] = Counter()
    kept = []
    for one in reversed(requests):
        left[one.surface] += 1
        if left[one.surface] <= NUM_LOGGED:
            kept.append(one)
    return kept[::-1]


def _requests(
    split: Split, examples: QueryExamples | None, rng: np.random.Generator
) -> list[tuple[str, list[LabelledQuery]]]:
    chosen = rng.permutation(len(split.targets))
    moments = [split.targets.moment(int(row), FUTURE) for row in chosen[: NUM_HOME + NUM_SIMILAR]]
    similar = [
        _similar(moment, place % 2 == 0)
        for place, moment in enumerate(moments[-NUM_SIMILAR:])
        if len(moment.past.history)
    ]
    search = [("search", _search(examples, [one.past for one in moments], rng))] if examples else []
    return [("home", list(map(_home, moments[:NUM_HOME]))), ("similar", similar), *search]


def _home(moment: Moment) -> LabelledQuery:
    past = moment.past
    query = Query("home", history=past.history, rejected=past.rejected)
    return LabelledQuery(query, moment.items, _done(moment))


def _similar(moment: Moment, is_known: bool) -> LabelledQuery:
    """An item page; every second one is looked at by a visitor without a past."""
    past = moment.past if is_known else UserPast()
    source = moment.past.history.item_nums[-1:]
    query = Query("similar", source_items=source, history=past.history, rejected=past.rejected)
    return LabelledQuery(query, moment.items, _done(moment))


def _done(moment: Moment) -> list[frozenset[str]]:
    """What the user did with each item that follows."""
    actions = moment.actions or [""] * len(moment.items)
    return [
        predicted(liked, [action])
        for liked, action in zip(moment.liked.tolist(), actions, strict=True)
    ]


def _search(
    examples: QueryExamples, pasts: Sequence[UserPast], rng: np.random.Generator
) -> list[LabelledQuery]:
    """Written queries, every second one with somebody's history: search must not need one."""
    result = []
    for place, row in enumerate(rng.permutation(len(examples))[:NUM_SEARCH]):
        past = pasts[place % len(pasts)] if pasts and place % 2 == 0 else UserPast()
        query = Query(
            "search",
            text=examples.texts[row],
            text_vector=examples.vectors[row],
            history=past.history,
            rejected=past.rejected,
        )
        done = [predicted(liked=True, actions=())]
        result.append(LabelledQuery(query, examples.items[row : row + 1], done))
    return result


def labelled_rows(
    labelled: Sequence[LabelledQuery],
    surface: str,
    state: EngineState,
    settings: Settings,
    first_group: int,
    rng: np.random.Generator,
) -> RankerRows:
    """Rows of one batch of requests.

    Left out are requests of which it is not known what was shown and whose right answers nobody
    proposed.
    """
    config = settings.all_surfaces()[surface]
    queries, shown = [one.query for one in labelled], [one.shown for one in labelled]
    candidates, features = collect(queries, config, state, shown)
    actions = settings.ranker.actions
    labels = np.zeros((len(candidates), len(actions)), dtype=np.float32)
    kept: list[NDArray[np.intp]] = []
    for row, (begin, end) in enumerate(pairwise(candidates.bounds(len(labelled)))):
        items = candidates.items[begin:end]
        chosen = np.isin(items, labelled[row].items)
        is_known = len(shown[row]) > 0
        if not chosen.any() and not is_known:
            continue
        for column, action in enumerate(actions):
            labels[begin:end, column] = np.isin(items, labelled[row].having(action))
        refused = np.isin(items, shown[row]) if is_known else np.ones(len(items), np.bool_)
        others = np.flatnonzero(refused & ~chosen)
        sampled = rng.choice(others, min(NEGATIVES, len(others)), replace=False)
        kept.append(begin + np.sort(np.concatenate([np.flatnonzero(chosen), sampled])))
    rows = np.concatenate(kept) if kept else np.empty(0, np.intp)
    return RankerRows(
        features=features[rows],
        task=np.full(len(rows), TASKS.index(config.task), dtype=np.int64),
        labels=labels[rows],
        weights=np.ones(len(rows), dtype=np.float32),
        group=first_group + candidates.rows[rows],
    )


def _joined(parts: Sequence[RankerRows]) -> RankerRows | None:
    if not parts:
        return None
    return RankerRows(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("features", "task", "labels", "weights", "group")
        }
    )
