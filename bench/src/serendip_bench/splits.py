"""Leave-last-two-out splits, with or without cold items held out.

Item numbers: items of the training part first, in the order of ``items.jsonl``, then all others,
which are added to a trained model by ``with_late``.

Shapes: T requests, N items, L levels of codes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig, fit_codebooks
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.dataset import Dataset, EventLog, HeldOut
from serendip.data.items.catalogue import Catalogue
from serendip.data.items.features import ItemFeatures, Tokens
from serendip.data.items.semantic_ids import Codebooks
from serendip.data.query import History, Query
from serendip.data.vocabulary import Vocabulary
from serendip.runtime.progress import TrainOptions
from serendip_bench.qrels import Relevance

COLD_SHARE = 0.05
"""Share of the items that the cold benchmark holds out."""


@dataclass(frozen=True, slots=True, eq=False)
class RequestSet:
    """Requests with one target item each.

    Args:
        queries: T requests; the items of the history are excluded.
        items: (T,) int32 target items.
        relevance: groups rows into requests with several targets, and requests by user; None =
            each row is a request of its own user.
    """

    queries: list[Query]
    items: IntArray
    relevance: Relevance | None = None

    def where(self, mask: BoolArray) -> RequestSet:
        """The requests of a mask (T,)."""
        queries = [query for query, keep in zip(self.queries, mask, strict=True) if keep]
        relevance = self.relevance and self.relevance.where(mask)
        return RequestSet(queries, self.items[mask], relevance)


@dataclass(frozen=True, slots=True, eq=False)
class BenchSplit:
    """Training data, validation requests and test requests.

    Args:
        train: without features; contains the validation targets for early stopping.
        numbers: (N,) row in ``items.jsonl`` of each item; items of the training part come first.
        validation: the target is the last but one item of each user.
        test: the target is the last item of each user; the last but one is input.
        cold: (N,) items held out of training and histories.
    """

    train: Dataset
    numbers: IntArray
    validation: RequestSet
    test: RequestSet
    cold: BoolArray

    def features(
        self,
        content: FloatArray,
        config: ResidualKMeansConfig | None,
        seed: int,
        tokens: Tokens | None = None,
    ) -> tuple[ItemFeatures, ItemFeatures]:
        """Features of the items of the training part, and of all other items.

        Args:
            content: unit vectors in the order of ``items.jsonl``.
            config: codebooks, fitted to the items of the training part; None = no codes.
            seed: of the codebooks.
            tokens: in the same order as ``content``; None = no token features.
        """
        vectors, num_train = content[self.numbers], self.train.num_items  # (N, C)
        codes, size = np.zeros((len(vectors), 0), np.int32), 1
        if config is not None:
            codebooks, codes = self.codes(content, config, seed)
            size = codebooks.codebook_size
        token_rows = None if tokens is None else tokens.rows(self.numbers)
        features = ItemFeatures(vectors, codes, size, tokens=token_rows)
        numbers = np.arange(len(vectors), dtype=np.int32)
        return features.rows(numbers[:num_train]), features.rows(numbers[num_train:])

    def codes(
        self, content: FloatArray, config: ResidualKMeansConfig, seed: int
    ) -> tuple[Codebooks, IntArray]:
        """Codebooks fitted to the items of the training part, and the codes (N, L) of all items.

        Args:
            content: unit vectors in the order of ``items.jsonl``.
            config: of the codebooks.
            seed: of the codebooks.
        """
        vectors, num_train = content[self.numbers], self.train.num_items
        codebooks, train_codes = fit_codebooks(vectors[:num_train], config, TrainOptions(seed))
        return codebooks, np.concatenate(
            [train_codes, codebooks.assign(vectors[num_train:])]
        )  # (N, L)


def build_sequential_split(dataset: Dataset) -> BenchSplit:
    """Train on all but the last two items of each user with three or more, as in the literature.

    One user's training events may be later than another's target, so it favours models that follow
    trends. Last items that a user had before are no targets.
    """
    log, (last, second) = dataset.events, last_events(dataset.events)
    in_train = np.ones(len(log), np.bool_)
    in_train[np.append(second, last)] = False
    events = log.rows(in_train)
    is_known = np.zeros(dataset.num_items, np.bool_)
    is_known[events.items] = True
    order = np.concatenate([np.flatnonzero(is_known), np.flatnonzero(~is_known)])  # (N,)
    number = np.empty(dataset.num_items, np.int32)  # (N,) old -> new
    number[order] = np.arange(dataset.num_items, dtype=np.int32)
    users, dense = np.unique(events.users, return_inverse=True)
    train = Dataset(
        dataset.catalogue.rows(np.flatnonzero(is_known).astype(np.int32)),
        Vocabulary(dataset.users.ids_of(users)),
        replace(events, users=dense.astype(np.int32), items=number[events.items]),
        action_names=dataset.action_names,
    )
    validation = _ask_for(dataset, second, 2, number)
    return BenchSplit(
        _with_validation(train, validation),
        order.astype(np.int32),
        validation,
        _ask_for(dataset, last, 1, number),
        np.zeros(dataset.num_items, np.bool_),
    )


def last_events(log: EventLog) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the last event, and of the last but one, of each user with three or more."""
    order = np.argsort(log.users, kind="stable")
    _, counts = np.unique(log.users, return_counts=True)
    ends = np.cumsum(counts)[counts >= 3]
    return order[ends - 1], order[ends - 2]


def without_last_events(dataset: Dataset) -> Dataset:
    """Hold out the last event of each user with three or more, as validation targets."""
    log, (last, _) = dataset.events, last_events(dataset.events)
    kept = np.ones(len(log), np.bool_)
    kept[last] = False
    held_out = HeldOut(log.users[last], log.items[last])
    return replace(dataset, events=log.rows(kept), validation=held_out)


def _ask_for(
    dataset: Dataset, rows: NDArray[np.intp], left_out: int, number: IntArray
) -> RequestSet:
    """Requests for events, each the first of its user's last ``left_out`` ones, if it is new."""
    log, queries, items = dataset.events, [], []
    for row in rows.tolist():
        user, item = int(log.users[row]), int(number[log.items[row]])
        whole = dataset.history(user)
        history = whole.first(len(whole) - left_out)
        history = replace(history, item_nums=number[history.item_nums])
        if item not in history.items:
            time, name = float(log.timestamps[row]), dataset.users.id(user)
            exclude = history.items
            queries.append(Query(user_id=name, history=history, time=time, exclude=exclude))
            items.append(item)
    return RequestSet(queries, np.array(items, np.int32))


def build_cold_split(dataset: Dataset, seed: int) -> BenchSplit:
    """As ``build_sequential_split``, with a random 5 % of the items held out.

    Cold items occur in no training event and no history. They are ranked, and they can be test
    targets; requests with a cold validation target are dropped.
    """
    return _hold_out(dataset, _draw_cold_items(np.arange(dataset.num_items, dtype=np.int32), seed))


def _draw_cold_items(candidates: IntArray, seed: int) -> IntArray:
    count = round(COLD_SHARE * len(candidates))
    return np.random.default_rng(seed).choice(candidates, count, replace=False)


def _hold_out(dataset: Dataset, drawn: IntArray) -> BenchSplit:
    """The sequential split without some items, given by their row in ``items.jsonl``."""
    split = build_sequential_split(dataset)
    is_cold = np.isin(split.numbers, drawn)
    events = split.train.events.rows(~is_cold[split.train.events.items])
    in_train = np.zeros(dataset.num_items, np.bool_)
    in_train[events.items] = True
    order = np.concatenate([np.flatnonzero(in_train), np.flatnonzero(~in_train)])  # (N,)
    number = np.empty(dataset.num_items, np.int32)  # (N,) old -> new
    number[order] = np.arange(dataset.num_items, dtype=np.int32)
    train_items = order[: int(in_train.sum())]
    train = Dataset(
        Catalogue([split.train.catalogue[item] for item in train_items.tolist()]),
        split.train.users,
        replace(events, items=number[events.items]),
    )
    validation = split.validation.where(~is_cold[split.validation.items])
    validation = _renumber_without(validation, is_cold, number)
    return BenchSplit(
        _with_validation(train, validation),
        split.numbers[order],
        validation,
        _renumber_without(split.test, is_cold, number),
        is_cold[order],
    )


def _with_validation(train: Dataset, validation: RequestSet) -> Dataset:
    users = train.users.numbers(query.user_id for query in validation.queries)
    return replace(train, validation=HeldOut(users, validation.items))


def renumber(requests: RequestSet, number: IntArray) -> RequestSet:
    """The same requests with new item numbers; ``number`` (N,) maps old to new ones."""
    return _renumber_without(requests, np.zeros(len(number), np.bool_), number)


def _renumber_without(requests: RequestSet, is_cold: BoolArray, number: IntArray) -> RequestSet:
    """Requests with new item numbers whose histories lack the cold items."""
    queries = []
    for query in requests.queries:
        history = query.history
        is_warm = ~is_cold[history.item_nums]
        items = number[history.item_nums[is_warm]]
        warm_history = History(items, history.timestamps[is_warm], history.liked[is_warm])
        queries.append(replace(query, history=warm_history, exclude=np.unique(items)))
    return replace(requests, queries=queries, items=number[requests.items])
