"""What a model may learn from, and what it is asked: leave the last two out, or items as well.

Items are numbered anew: those of the training part first, in the order of ``items.jsonl``, then
all others, which join a trained model through ``with_items``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from serendip.content.semantic_ids.kmeans import ResidualKMeans, ResidualKMeansConfig
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.dataset import Dataset, HeldOut
from serendip.data.item import Catalogue
from serendip.data.item_features import ItemFeatures, Tokens
from serendip.data.query import History, Query
from serendip.data.semantic_ids import Codebooks
from serendip.data.splits import Targets, leave_last_out
from serendip.runtime.progress import TrainOptions
from serendip_bench.qrels import Relevance

COLD_SHARE = 0.05
"""Share of the items that the cold benchmark takes out."""


@dataclass(frozen=True, slots=True, eq=False)
class RequestSet:
    """Requests, and an item that each should find: one request per user, and what came next.

    Args:
        queries: T requests; the items of the history are excluded.
        items: (T,) int32.
        relevance: which rows are one request with several items, and whose requests they are; None
            = each row is a request and a user of its own.
    """

    queries: list[Query]
    items: IntArray
    relevance: Relevance | None = None

    def where(self, mask: BoolArray) -> RequestSet:
        """The requests that a mask (T,) keeps."""
        queries = [query for query, keep in zip(self.queries, mask, strict=True) if keep]
        relevance = self.relevance and self.relevance.where(mask)
        return RequestSet(queries, self.items[mask], relevance)


@dataclass(frozen=True, slots=True, eq=False)
class BenchSplit:
    """A training part, what is known of other items, and the requests.

    Args:
        train: without features; carries the validation targets for early stopping.
        numbers: (N,) place in ``items.jsonl`` of each item; the training part's come first.
        validation: the last but one item of each user.
        test: the last item of each user; the last but one is input.
        cold: (N,) items that were taken out of training and histories.
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
        """Features of the training part's items and of the others.

        Args:
            content: unit vectors in the order of ``items.jsonl``.
            config: codebooks, fitted to the training part's items; None = no codes.
            seed: of the codebooks.
            tokens: of the items, in the same order as ``content``; None = they are not read.
        """
        vectors, known = content[self.numbers], self.train.num_items
        codes, size = np.zeros((len(vectors), 0), np.int32), 1
        if config is not None:
            codebooks, codes = self.codes(content, config, seed)
            size = codebooks.codebook_size
        read = None if tokens is None else tokens.rows(self.numbers)
        features = ItemFeatures(vectors, codes, size, tokens=read)
        numbers = np.arange(len(vectors), dtype=np.int32)
        return features.rows(numbers[:known]), features.rows(numbers[known:])

    def codes(
        self, content: FloatArray, config: ResidualKMeansConfig, seed: int
    ) -> tuple[Codebooks, IntArray]:
        """Codebooks of the training part's items, and the codes (N, L) of all items.

        Args:
            content: unit vectors in the order of ``items.jsonl``.
            config: of the codebooks.
            seed: of the codebooks.
        """
        vectors, known = content[self.numbers], self.train.num_items
        codebooks, own = ResidualKMeans(config).fit(vectors[:known], TrainOptions(seed))
        return codebooks, np.concatenate([own, codebooks.assign(vectors[known:])])


def sequential_trial(dataset: Dataset) -> BenchSplit:
    """All but the last two items of each user are learned from."""
    split = leave_last_out(dataset)
    assert split.validation is not None
    validation = _asked(split.validation)
    return BenchSplit(
        _stopped_by(split.train, validation),
        dataset.catalogue.vocabulary.numbers(item.item_id for item in split.catalogue.items),
        validation,
        _asked(split.targets),
        np.zeros(dataset.num_items, np.bool_),
    )


def cold_trial(dataset: Dataset, seed: int) -> BenchSplit:
    """As ``sequential_trial``, with a random 5 % of the items taken out of training and histories.

    They stay among what is ranked, and among what is asked for at the end; a validation target
    that is cold is dropped.
    """
    return _without_items(dataset, _drawn(np.arange(dataset.num_items, dtype=np.int32), seed))


def cold_events_trial(dataset: Dataset, candidates: IntArray, seed: int) -> BenchSplit:
    """As ``cold_trial``, with every event of the cold items asked for, not only last ones.

    Where few items are cold, last events alone are too few to tell anything. The history of a
    cold target is what its user did strictly before it, cold items left out; a target before
    which nothing is known is not asked for. The later events of its user are learned from, which
    says nothing of the cold item. The requests for the last items of the users that are not cold
    come first, and are those of ``cold_trial``.

    Args:
        dataset: everything, not split.
        candidates: items of which 5 % become cold.
        seed: which ones.
    """
    trial = _without_items(dataset, _drawn(candidates, seed))
    warm = trial.test.where(~trial.cold[trial.test.items])
    cold = _events_of(dataset, trial.cold, np.argsort(trial.numbers).astype(np.int32))
    items = np.concatenate([warm.items, cold.items])
    return replace(trial, test=RequestSet([*warm.queries, *cold.queries], items))


def _drawn(candidates: IntArray, seed: int) -> IntArray:
    count = round(COLD_SHARE * len(candidates))
    return np.random.default_rng(seed).choice(candidates, count, replace=False)


def _events_of(dataset: Dataset, is_cold: BoolArray, number: IntArray) -> RequestSet:
    """All events of the cold items; ``is_cold`` by new numbers, ``number`` from old to new."""
    log, queries, rows = dataset.events, [], []
    for row in np.flatnonzero(is_cold[number[log.items]]).tolist():
        user, time = int(log.users[row]), float(log.timestamps[row])
        history = dataset.history(user).before(time)
        queries.append(Query(user_id=dataset.users.id(user), history=history, time=time))
        rows.append(row)
    asked = _without(RequestSet(queries, log.items[rows]), is_cold[number], number)
    return asked.where(np.array([len(query.history) > 0 for query in asked.queries], np.bool_))


def _without_items(dataset: Dataset, drawn: IntArray) -> BenchSplit:
    """The sequential trial without some items, given by place in ``items.jsonl``."""
    trial = sequential_trial(dataset)
    is_cold = np.isin(trial.numbers, drawn)
    events = trial.train.events.rows(~is_cold[trial.train.events.items])
    in_train = np.zeros(dataset.num_items, np.bool_)
    in_train[events.items] = True
    order = np.concatenate([np.flatnonzero(in_train), np.flatnonzero(~in_train)])
    number = np.empty(dataset.num_items, np.int32)
    number[order] = np.arange(dataset.num_items, dtype=np.int32)
    known = order[: int(in_train.sum())]
    train = Dataset(
        Catalogue([trial.train.catalogue[place] for place in known.tolist()]),
        trial.train.users,
        replace(events, items=number[events.items]),
    )
    validation = trial.validation.where(~is_cold[trial.validation.items])
    validation = _without(validation, is_cold, number)
    return BenchSplit(
        _stopped_by(train, validation),
        trial.numbers[order],
        validation,
        _without(trial.test, is_cold, number),
        is_cold[order],
    )


def _stopped_by(train: Dataset, validation: RequestSet) -> Dataset:
    users = train.users.numbers(query.user_id for query in validation.queries)
    return train.with_validation(HeldOut(users, validation.items))


def _asked(targets: Targets) -> RequestSet:
    return RequestSet(targets.queries(), targets.items)


def renumbered(asked: RequestSet, number: IntArray) -> RequestSet:
    """The same requests; ``number`` (N,) is from old item numbers to new ones."""
    return _without(asked, np.zeros(len(number), np.bool_), number)


def _without(asked: RequestSet, is_cold: BoolArray, number: IntArray) -> RequestSet:
    """Requests in new numbers whose histories do not know the cold items."""
    queries = []
    for query in asked.queries:
        whole = query.history
        kept = ~is_cold[whole.item_nums]
        items = number[whole.item_nums[kept]]
        history = History(items, whole.timestamps[kept], whole.liked[kept])
        queries.append(replace(query, history=history, exclude=np.unique(items)))
    return replace(asked, queries=queries, items=number[asked.items])
