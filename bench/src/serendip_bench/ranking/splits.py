"""Training data and the requests that models are tested by.

Item numbers: items of the training part first, in the order of their file, then all others, which
models get after their training (``with_late``).

Shapes: E events, N items, C content size, L levels of codes, T rows of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig, fit_codebooks
from serendip.data import Catalogue
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.dataset import Dataset, EventLog, HeldOut, QueryExamples
from serendip.data.items.features import ItemFeatures
from serendip.data.query import Query
from serendip.data.splits import MAX_TARGETS_PER_USER, Split, Targets, temporal
from serendip.data.vocabulary import Vocabulary
from serendip.runtime.progress import TrainOptions
from serendip_bench.ranking.requests import RequestSet

COLD_SHARE = 0.05
"""Share of the items that the cold benchmark holds out."""

SEMANTIC_IDS = ResidualKMeansConfig()

QUERY_FIELDS = ("category",)
"""Item fields whose text is the query of an item of a sequence set."""

TRAIN_END, VALIDATION_END = 0.7, 0.8
"""Shares of the events, by time, at which training and validation of a temporal split end."""


@dataclass(frozen=True, slots=True, eq=False)
class BenchSplit:
    """Training data and requests.

    Args:
        train: without features; has the validation targets for early stopping, if any.
        catalogue: all items.
        numbers: (N,) row in the file of each of them.
        tests: name of a set of requests -> requests: the task, or the task and a name.
        validation: the same for settings to be chosen on.
        is_cold: (N,) items held out of training and histories.
    """

    train: Dataset
    catalogue: Catalogue
    numbers: IntArray
    tests: Mapping[str, RequestSet]
    validation: Mapping[str, RequestSet]
    is_cold: BoolArray

    def features(
        self, content: FloatArray, seed: int, with_codes: bool = True
    ) -> tuple[ItemFeatures, ItemFeatures]:
        """Features of the items of the training part, and of all others.

        Args:
            content: (N, C) unit vectors, or (N, 0).
            seed: of the codebooks, which are fitted to the training part.
            with_codes: whether there are codes.
        """
        count = self.train.num_items
        codes, size = np.zeros((len(content), 0), np.int32), 1
        if with_codes:
            books, known = fit_codebooks(content[:count], SEMANTIC_IDS, TrainOptions(seed))
            codes = np.concatenate([known, books.assign(content[count:])])  # (N, L)
            size = books.codebook_size
        features, rows = ItemFeatures(content, codes, size), np.arange(len(content), dtype=np.int32)
        return features.rows(rows[:count]), features.rows(rows[count:])

    def with_vectors(self, encode: Callable[[list[str]], FloatArray]) -> BenchSplit:
        """The same with vectors of all texts of queries.

        Args:
            encode: n texts -> (n, C) vectors.
        """
        train, sets = self.train, (*self.tests.values(), *self.validation.values())
        examples = train.queries
        texts = dict.fromkeys(() if examples is None else examples.texts)
        texts.update(dict.fromkeys(query.text for part in sets for query in part.queries))
        vector_of = dict(zip(texts, encode(list(texts)), strict=True))
        if examples is not None:
            vectors = np.stack([vector_of[text] for text in examples.texts])
            train = train.with_queries(QueryExamples(examples.texts, vectors, examples.items))

        def with_vector(query: Query) -> Query:
            return replace(query, text_vector=vector_of[query.text]) if query.text else query

        tests, validation = (
            {name: requests.with_queries(with_vector) for name, requests in part.items()}
            for part in (self.tests, self.validation)
        )
        return replace(self, train=train, tests=tests, validation=validation)


def write_queries(texts: list[str], items: list[int]) -> QueryExamples:
    """Examples of queries that have no vectors yet."""
    return QueryExamples(texts, np.empty((len(texts), 0), np.float32), np.array(items, np.int32))


def split_sequences(dataset: Dataset, cold_seed: int | None = None) -> BenchSplit:
    """Train on all but the last two items of each user with three or more, as in the literature.

    The last item is the test target (``home``), the last but one the validation target. One user's
    training events may be later than another's target, so it favours models that follow trends. An
    item that a user had before is no target.

    Args:
        dataset: unsplit.
        cold_seed: hold a random 5 % of the items out of training and histories; they are ranked,
            and the tests are those with such a target (``cold``) and all others (``warm``).
    """
    log, (last, second) = dataset.events, _last_events(dataset.events)
    is_cold = np.zeros(dataset.num_items, np.bool_)
    if cold_seed is not None:
        count, rng = round(COLD_SHARE * dataset.num_items), np.random.default_rng(cold_seed)
        is_cold[rng.choice(dataset.num_items, count, replace=False)] = True
    in_train = np.ones(len(log), np.bool_)
    in_train[np.append(second, last)] = False
    users = np.unique(log.users[in_train])
    events = log.rows(in_train & ~is_cold[log.items])
    is_known = np.zeros(dataset.num_items, np.bool_)
    is_known[events.items] = True
    order = np.concatenate([np.flatnonzero(is_known), np.flatnonzero(~is_known)]).astype(np.int32)
    number = np.argsort(order).astype(np.int32)  # (N,) old -> new
    train = Dataset(
        dataset.catalogue.rows(order[: int(is_known.sum())]),
        Vocabulary(dataset.users.ids_of(users)),
        replace(
            events,
            users=np.searchsorted(users, events.users).astype(np.int32),
            items=number[events.items],
        ),
        action_names=dataset.action_names,
    )
    tests = {"home": _ask_for(dataset, last, 1, number, is_cold)}
    validation = _ask_for(dataset, second, 2, number, is_cold)
    validation = validation.where(~is_cold[order][validation.items])
    if cold_seed is not None:
        (everybody,) = tests.values()
        mask = is_cold[order][everybody.items]
        tests = {"cold": everybody.where(mask), "warm": everybody.where(~mask)}
    people = train.users.numbers(query.user_id for query in validation.queries)
    return BenchSplit(
        replace(train, validation=HeldOut(people, validation.items)),
        dataset.catalogue.rows(order),
        order,
        tests,
        {"home": validation},
        is_cold[order],
    )


def _last_events(log: EventLog) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the last event, and of the last but one, of each user with three or more."""
    order = np.argsort(log.users, kind="stable")
    _, counts = np.unique(log.users, return_counts=True)
    ends = np.cumsum(counts)[counts >= 3]
    return order[ends - 1], order[ends - 2]


def _ask_for(
    dataset: Dataset, rows: NDArray[np.intp], left_out: int, number: IntArray, is_cold: BoolArray
) -> RequestSet:
    """Requests for events, each the first of its user's last ``left_out`` ones, if it is new."""
    log, queries, items, units = dataset.events, [], [], []
    for row in rows.tolist():
        user, item = int(log.users[row]), int(log.items[row])
        whole = dataset.history(user)
        history = whole.first(len(whole) - left_out)
        if item not in history.items:
            history = history.without(np.flatnonzero(is_cold).astype(np.int32))
            history = replace(history, item_nums=number[history.item_nums])
            time, name = float(log.timestamps[row]), dataset.users.id(user)
            queries.append(Query(user_id=name, history=history, time=time, exclude=history.items))
            items.append(int(number[item]))
            units.append(user)
    return RequestSet.of(queries, items, units)


def split_tasks(dataset: Dataset) -> BenchSplit:
    """``split_sequences`` with requests of three tasks.

    ``search`` has the history and a query: the text of the target's category path, as in papers on
    joint search and recommendation with review data, which has no queries. ``similar`` has the last
    item of the history alone, and excludes it alone.
    """
    split = split_sequences(dataset)
    texts = split.catalogue.texts(QUERY_FIELDS)
    with_text = [number for number in range(split.train.num_items) if texts[number]]
    queries = write_queries([texts[number] for number in with_text], with_text)

    def ask(home: RequestSet) -> dict[str, RequestSet]:
        searches = [
            replace(query, task="search", text=texts[item])
            for query, item in zip(home.queries, home.items.tolist(), strict=True)
        ]
        search = replace(home, queries=searches)
        similar = home.with_queries(lambda query: _similar_to(query.history.item_nums[-1:]))
        sources = np.array([query.source_items[0] for query in similar.queries], np.int32)
        return {
            "home": home,
            "search": search.where(np.array([bool(query.text) for query in searches], np.bool_)),
            "similar": similar.where(sources != home.items),
        }

    return replace(
        split,
        train=split.train.with_queries(queries),
        tests=ask(split.tests["home"]),
        validation=ask(split.validation["home"]),
    )


def _similar_to(item: IntArray) -> Query:
    return Query("similar", source_items=item, exclude=item)


def split_by_time(dataset: Dataset) -> tuple[Split, BenchSplit]:
    """Train on the oldest 70 % of the events, validate on the next 10 %, test on the newest 20 %.

    ``home``: the target is a user's first event with an item, the history what the user did
    strictly before. ``similar``: the source is an item that a user liked, the target the item that
    the user liked next in the same part. Both up to 100 per user.

    Returns:
        the split at the earlier cut, and the requests of both tasks.
    """
    split, newest = temporal(dataset, TRAIN_END, VALIDATION_END), temporal(dataset, VALIDATION_END)
    ids = [item.item_id for item in split.catalogue.items]
    numbers = dataset.catalogue.vocabulary.numbers(ids)
    number = np.argsort(numbers).astype(np.int32)  # (N,) old -> new
    later = split.catalogue.vocabulary.numbers(item.item_id for item in newest.catalogue.items)
    begin, end = np.searchsorted(dataset.events.timestamps, (split.cut, newest.cut))
    row = np.arange(len(dataset.events))
    test = _to_requests(newest.targets, dataset.users)
    test = replace(
        test,
        queries=[_renumbered(query, later) for query in test.queries],
        items=later[test.items],
    )
    tests = {"home": test, "similar": _ask_next_liked(dataset, number, row >= end)}
    validation = {
        "home": _to_requests(split.targets, dataset.users),
        "similar": _ask_next_liked(dataset, number, (row >= begin) & (row < end)),
    }
    no_cold = np.zeros(dataset.num_items, np.bool_)
    return split, BenchSplit(split.train, split.catalogue, numbers, tests, validation, no_cold)


def _to_requests(targets: Targets, users: Vocabulary) -> RequestSet:
    units = users.numbers(targets.users)
    return RequestSet.of(targets.queries(), targets.items.tolist(), units.tolist())


def _renumbered(query: Query, number: IntArray) -> Query:
    history = replace(query.history, item_nums=number[query.history.item_nums])
    return replace(query, history=history, exclude=history.items)


def _ask_next_liked(dataset: Dataset, number: IntArray, part: BoolArray) -> RequestSet:
    """Pairs of successively liked items of a user, among the events (E,) of one part."""
    log = dataset.events.rows(part & dataset.events.liked)
    order = np.argsort(log.users, kind="stable")
    users, items = log.users[order], number[log.items[order]]
    is_pair = (users[1:] == users[:-1]) & (items[1:] != items[:-1])
    position = np.arange(len(users)) - np.searchsorted(users, users)  # of a like among its user's
    rows = np.flatnonzero(is_pair & (position[:-1] < MAX_TARGETS_PER_USER))
    queries = [_similar_to(items[row : row + 1]) for row in rows.tolist()]
    return RequestSet.of(queries, items[rows + 1].tolist(), users[rows].tolist())
