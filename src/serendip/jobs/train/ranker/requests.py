"""Requests that the ranker learns from, labelled by the events that followed.

The tasks share one model. Home: a user's history up to a moment, labelled by the user's next
events. Similar: the item of an event as the source, labelled by the next events. Cart and the page
after an order are asked as a report asks them: half of a basket with the rest of it as positives,
and a whole basket with the user's next one. Logged requests of any surface are added, labelled by
the items that were chosen. Negatives are the shown items that were not chosen, if the log has the
shown items, and sampled candidates otherwise. Searches have three sources:

==========  ====================================================================================
logged      a search of the newer part of the log; positive is what was chosen after it
labelled    a query of the files of ``[ranker.searches] labels``; positive is what people or an LLM
            labelled as relevant, negative what they labelled as irrelevant
written     a query that was written for an item, by an LLM (``serendip llm run queries``) or
            from its fields; positive is that item
==========  ====================================================================================

Written queries have more words of their items than queries that people type, so a ranker that has
seen few others trusts words too much: they have a weight, ``[ranker.searches] written``. Whether it
orders search is decided on searches of the other two sources (``choices``), without
the queries of files of labels by an LLM: what labels alike may only teach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data import FloatArray, History, Query, QueryExamples, Task, Vocabulary
from serendip.data.arrays import NO_ITEMS
from serendip.data.events.rejections import Rejected
from serendip.data.events.repeats import Repeats
from serendip.data.events.search_log import LoggedRequest
from serendip.data.query import NEAREST_TASK, TASKS
from serendip.data.splits import Split
from serendip.engine.config.settings import Settings
from serendip.files.tables import open_table
from serendip.jobs.labels.pair_files import (
    JudgedQueries,
    has_model_labels,
    read_judged_queries,
    with_gain,
)
from serendip.jobs.surface_quality.baskets import ask_about_baskets
from serendip.jobs.surface_quality.requests import LabelledQuery, ask_at, label_actions
from serendip.jobs.train.ranker.examination import fit_examination, position_weights
from serendip.models.ranker.config import (
    SEARCH_SOURCES,
    RankerConfig,
    RankerRows,
    SearchSource,
)

LabelledRequests = Sequence[tuple[str, Sequence[LabelledQuery]]]
"""Surface -> requests; a surface may come twice."""

BASKET_TASKS: tuple[Task, ...] = tuple(NEAREST_TASK)

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

_NOBODY: Mapping[str, Any] = {"history": History(), "rejected": Rejected(), "again": NO_ITEMS}
"""What is known of somebody whose past is not."""

BATCH = 64


def mix_batches(requests: LabelledRequests) -> LabelledRequests:
    """Requests in batches of one surface; the first of them are a sample of all surfaces."""
    batches = [
        ((begin + BATCH) / len(labelled), surface, labelled[begin : begin + BATCH])
        for surface, labelled in requests
        for begin in range(0, len(labelled), BATCH)
    ]
    batches.sort(key=lambda batch: batch[0])
    return [(surface, labelled) for _, surface, labelled in batches]


def label_logged_requests(
    split: Split,
    settings: Settings,
    repeats: Repeats,
    encode: Callable[[Sequence[str]], FloatArray],
) -> list[tuple[str, list[LabelledQuery]]]:
    """The newest logged requests of the newer part, by surface, labelled by what was chosen.

    Unknown surfaces are left out, and surfaces that need items, which the log does not have.
    """
    surfaces, by_surface = settings.all_surfaces(), dict[str, list[LoggedRequest]]()
    for request in split.requests:
        surface = surfaces.get(request.surface)
        needed = ("", "query" if request.text else "")
        if request.says_something and surface is not None and surface.needs in needed:
            by_surface.setdefault(request.surface, []).append(request)
    groups = []
    for name, requests in by_surface.items():
        newest = requests[-NUM_LOGGED:]
        examined, vectors = fit_examination(newest), encode([one.text for one in newest])
        labelled = []
        for request, vector in zip(newest, vectors, strict=True):
            query = split.targets.logged_query(request, surfaces[name].task)
            again = repeats.due(query.history, query.time)
            query = replace(query, text_vector=vector if request.text else None, again=again)
            actions = request.actions or [frozenset()] * len(request.chosen)
            labels = list(map(label_actions, request.liked.tolist(), actions))
            source: SearchSource | None = "logged" if query.task == "search" else None
            weights = position_weights(request, examined)
            labelled.append(
                LabelledQuery(query, request.chosen, labels, request.shown, weights, source=source)
            )
        groups.append((name, labelled))
    return groups


def build_requests(
    split: Split,
    examples: QueryExamples,
    repeats: Repeats,
    config: RankerConfig,
    rng: np.random.Generator,
) -> list[tuple[Task, list[LabelledQuery]]]:
    """Requests of moments of the newer part, the targets of the split, and of written queries, by
    task.

    The config has the largest number of home requests (see ``_count_home``) and the weight of
    written queries.
    """
    targets, most = split.targets, config.most_requests
    num_home, num_similar = _count_home(split, most), count_similar(split, most)
    sample = rng.permutation(len(targets))[: num_home + num_similar].tolist()
    moments = [one for row in sample if (one := ask_at(targets, row, "home", repeats))]
    similar = []
    for index, row in enumerate(sample[-num_similar:]):
        one = ask_at(targets, row, "similar", repeats)
        if one is not None:
            # No candidates: items of the same time as the next ones would count as not chosen.
            beside = np.setdiff1d(targets.choices_beside(row), one.items).astype(np.int32)
            known = {} if index % 2 == 0 else _NOBODY
            similar.append(replace(one, query=replace(one.query, exclude=beside, **known)))
    queries, weight = [one.query for one in moments], config.searches.written
    groups: list[tuple[Task, list[LabelledQuery]]] = [
        ("home", moments[:num_home]),
        ("similar", similar),
        ("search", write_searches(examples, queries, NUM_SEARCH, weight, rng)),
    ]
    return [(task, labelled) for task, labelled in groups if labelled]


def build_basket_requests(
    split: Split, repeats: Repeats, settings: Settings, most: int, rng: np.random.Generator
) -> list[tuple[str, list[LabelledQuery]]]:
    """Requests of both kinds, at most ``most`` of each, of as many users as possible.

    Baskets that begin after the cut of the split are read; a task whose surface was given another
    one has no requests. Their order is drawn, so that the first ones are a sample of all.
    """
    surfaces = settings.all_surfaces()
    groups = list[tuple[str, list[LabelledQuery]]]()
    for task in BASKET_TASKS:
        if surfaces[task].task == task:
            asked, _ = ask_about_baskets(split, split.targets, task, repeats, most)
            groups.append((task, [asked[row] for row in rng.permutation(len(asked)).tolist()]))
    return [(task, asked) for task, asked in groups if asked]


def _count_home(split: Split, most: int) -> int:
    """Number of home requests: it grows with the targets and with their users, up to ``most``."""
    of_users = max(FEWEST_HOME, HOME_PER_USER * len(set(split.targets.users)))
    return min(len(split.targets), of_users, most)


def count_similar(split: Split, most: int) -> int:
    """Largest number of requests for similar items, and of requests of each kind of basket."""
    return max(NUM_SEARCH, _count_home(split, most) // HOME_PER_SIMILAR)


SEARCH = TASKS.index("search")


def label_judged(
    judged: JudgedQueries, vectors: FloatArray, by_llm: Set[str] = frozenset()
) -> list[LabelledQuery]:
    """Searches for labelled queries, without a user, with the content vectors (Q, D) of the texts.

    The weight of a relevant item is its gain. ``by_llm`` are the texts with labels by an LLM.
    """
    labelled = []
    for (text, gains), vector in zip(judged.items(), vectors, strict=True):
        items = np.array(sorted(gains), np.int32)  # (P + I,)
        gain = np.array([gains[item] for item in items.tolist()], np.float32)
        relevant = gain > 0
        labelled.append(
            LabelledQuery(
                Query("search", text=text, text_vector=vector),
                items[relevant],
                [label_actions(liked=True, actions=())] * int(relevant.sum()),
                weights=gain[relevant],
                irrelevant=items[~relevant],
                source="labelled",
                by_llm=text in by_llm,
            )
        )
    return labelled


MOST_LABELLED = 3_000
"""Largest number of labelled queries; of more a random sample, always the same."""


def read_judged_files(
    paths: Sequence[Path], vocabulary: Vocabulary, most: int = MOST_LABELLED
) -> JudgedQueries:
    """At most ``most`` queries of files of labels; of two labels of a pair the later file's counts.

    Labels of other items than those of the vocabulary are left out.

    Raises:
        DataError: a file is missing or broken.
    """
    gains: dict[str, dict[int, float]] = {}
    for path in paths:
        for text, by_item in read_judged_queries(path, vocabulary).items():
            gains.setdefault(text, {}).update(by_item)
    judged = list(with_gain(gains).items())
    order = np.random.default_rng(0).permutation(len(judged))
    return dict(judged[row] for row in np.sort(order[:most]).tolist())


def read_queries_by_llm(paths: Sequence[Path]) -> set[str]:
    """Texts of all queries of the files of labels that name a model.

    Raises:
        DataError: a file is missing or broken.
    """
    by_llm = [path for path in paths if has_model_labels(path)]
    return {query for path in by_llm for (query,) in open_table(path).rows(("query",))}


def write_searches(
    examples: QueryExamples,
    others: Sequence[Query],
    most: int,
    weight: float,
    rng: np.random.Generator,
) -> list[LabelledQuery]:
    """At most ``most`` searches for written queries, every second one with the history of somebody.

    Search must not need a history; those of the other requests are taken in turns. With a weight of
    0 there are none.
    """
    result = []
    for index, row in enumerate(rng.permutation(len(examples))[:most]):
        past = others[index % len(others)] if others and index % 2 == 0 else Query()
        query = Query(
            "search",
            text=examples.texts[row],
            text_vector=examples.vectors[row],
            history=past.history,
            rejected=past.rejected,
        )
        labels = [label_actions(liked=True, actions=())]
        items = examples.items[row : row + 1]
        result.append(LabelledQuery(query, items, labels, source="written", weight=weight))
    return result if weight else []


def count_searches(rows: RankerRows, sources: Sequence[SearchSource | None]) -> dict[str, int]:
    """Source -> number of its searches with a positive row, by their numbers in ``rows.group``."""
    of_search = (rows.task == SEARCH) & rows.labels.any(1)  # (R,)
    found = Counter(sources[group] for group in np.unique(rows.group[of_search]).tolist())
    return {source: found[source] for source in SEARCH_SOURCES}
