"""Search ordered by the engine's ranker, by what the ranker has learned search from.

Candidates, features and network are those of the row ``engine``, and home and similar items are
learned as there. What search is learned from differs, written queries with the weight of
``[ranker.searches]``:

- ``ranker-written``: queries written for items, the validation queries of the data set;
- ``ranker-labelled``: these, and the queries of people of the same set that are in other folds,
  with their relevant and irrelevant items. Units (tags, conversations, queries) are dealt into
  folds, and each fold is ordered by a ranker that has seen none of its units;
- ``search-order``: the latter rankers behind the check of a training: for each fold it is chosen on
  the queries of the other folds, by ``jobs/train/ranker/search_order_choice.py`` as it is, whether
  the ranker or rank fusion orders. These answers are the product's, exact titles first.

The first two order search without that check; ``engine`` fuses the same candidates by rank.

Shapes: T rows of requests, Q requests, U units.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS
from serendip.data.query import Query
from serendip.engine.state import EngineState
from serendip.evaluate.decision import Decision, write_decisions
from serendip.evaluate.runs import Values
from serendip.jobs.train.ranker.labels import LabelledQuery, label_actions
from serendip.jobs.train.ranker.orders import RankerSample
from serendip.jobs.train.ranker.requests import BATCH
from serendip.jobs.train.ranker.rows import SearchCandidates, label_candidates
from serendip.jobs.train.ranker.search_order_choice import choose_search_order
from serendip.models.ranker.config import PER_ROW, RankerRows, SearchSource
from serendip.models.ranker.model import Ranker
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip_bench.costs import read_costs
from serendip_bench.datasets.registry import detect_dataset
from serendip_bench.qrels import Relevance
from serendip_bench.sequential.rows import MODEL_FOLDER, prepare_folder
from serendip_bench.splits import RequestSet
from serendip_bench.unified.engine import (
    SOURCES,
    Measurement,
    build_row,
    list_validation,
    sum_seconds,
    train_sources,
)
from serendip_bench.unified.engine_candidates import (
    CANDIDATES,
    FEATURES,
    SETTINGS,
    RankerFunction,
    build_training_rows,
    rank_listed_targets,
    rank_targets,
    split_requests,
)
from serendip_bench.unified.rows import UnifiedTask, name_request_set

NUM_FOLDS = 5
SEARCH = "search"
WRITTEN, LABELLED, CHOSEN = "ranker-written", "ranker-labelled", "search-order"


def compute_search_rows(task: UnifiedTask) -> list[dict[str, Any]]:
    """Train the rankers of search and evaluate them; one row per request set and model."""
    data, clock = Path(task.data), StageClock()
    split = detect_dataset(data).build_split(data, np.load(task.words, allow_pickle=False))
    prepare_folder(Path(task.folder), task.digest)
    retriever = Retriever.open(Path(task.model_folder) / MODEL_FOLDER)
    training, _ = split_requests(list_validation(split), task.seed)
    with tempfile.TemporaryDirectory() as scratch:
        with clock.stage(SOURCES):
            state = train_sources(task, split, retriever, Path(scratch) / "words")
        learner = SearchLearner.of(training, state, task.seed, clock)
        ranked = {
            name: learner.rank(split.tests[name])
            for name in dict.fromkeys(map(name_request_set, task.keys))
        }
    sources_s = read_costs(Path(task.model_folder))[0] + sum_seconds(clock, SOURCES)
    rows = []
    for key in task.keys:
        name, model = name_request_set(key), str(key["model"])
        costs: dict[str, Any] = {
            "cpu_s": round(sources_s + sum_seconds(clock, model), 3),
            "params": retriever.num_parameters,
        }
        if model == CHOSEN:
            costs["orders"] = write_decisions(ranked[name].orders)
        measurement = Measurement(
            ranked[name].ranks[model], np.empty((0, 3)), sum_seconds(clock, CANDIDATES)
        )
        rows.append(build_row(task, key, split.tests[name], measurement, costs))
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class SearchRows:
    """Rows of searches, and what a training compares both orders on.

    Args:
        rows: positives and sampled negatives; ``group`` is the number of the request.
        requests: Q requests.
        compared: all candidates of searches that may decide; None = there are none.
    """

    rows: RankerRows
    requests: Sequence[LabelledQuery]
    compared: SearchCandidates | None

    @classmethod
    def of_others(cls, rows: RankerRows) -> Self:
        """Rows of requests that are no searches and decide nothing."""
        count = int(rows.group.max(initial=-1)) + 1
        return cls(rows, [LabelledQuery(Query(), NO_ITEMS, ())] * count, None)

    @classmethod
    def joined(cls, parts: Sequence[SearchRows]) -> Self:
        """All rows; requests of different parts stay different ones. At least one part."""
        firsts = np.cumsum([0, *(len(part.requests) for part in parts)])
        rows = [_shift(part.rows, first) for part, first in zip(parts, firsts, strict=False)]
        compared = [
            replace(part.compared, rows=_shift(part.compared.rows, first))
            for part, first in zip(parts, firsts, strict=False)
            if part.compared is not None
        ]
        requests = [request for part in parts for request in part.requests]
        return cls(_concatenate(rows), requests, SearchCandidates.joined(compared))

    def where(self, kept: NDArray[np.bool_]) -> SearchRows:
        """The rows of the requests of a mask (Q,); requests keep their numbers."""
        compared = self.compared
        if compared is not None:
            compared = compared.at(kept[compared.rows.group])
        return SearchRows(self.rows.at(kept[self.rows.group]), self.requests, compared)


@dataclass(frozen=True, slots=True, eq=False)
class SearchRanks:
    """Ranks of the targets of one request set.

    Args:
        ranks: model -> (T,).
        orders: what was chosen for each fold.
    """

    ranks: Mapping[str, Values]
    orders: Sequence[Decision]


@dataclass(frozen=True, slots=True, eq=False)
class SearchLearner:
    """Trains rankers that order search.

    Args:
        state: with the sources.
        others: rows of home and similar items; empty = the data have neither.
        written: rows of written queries.
        seed: of rows, folds and trainings.
        clock: gets the CPU seconds of each model, and of the candidates.
    """

    state: EngineState
    others: Sequence[SearchRows]
    written: SearchRows
    seed: int
    clock: StageClock

    @classmethod
    def of(
        cls,
        training: Mapping[str, RequestSet],
        state: EngineState,
        seed: int,
        clock: StageClock,
    ) -> SearchLearner:
        """Build the rows that all rankers share, from training requests by task."""
        with clock.stage(WRITTEN):
            others = {task: requests for task, requests in training.items() if task != SEARCH}
            surfaces = SETTINGS.all_surfaces()
            rows = [build_training_rows(others, surfaces, state, seed)] if others else []
            written = build_search_rows(training[SEARCH], "written", state, seed)
        return cls(state, [SearchRows.of_others(part) for part in rows], written, seed, clock)

    def rank(self, requests: RequestSet) -> SearchRanks:
        """Rank the targets of one request set."""
        relevance = require_relevance(requests)
        with self.clock.stage(WRITTEN):
            by_written = self._train(SearchRows.joined([*self.others, self.written]))
        with self.clock.stage(LABELLED):
            labelled = build_search_rows(requests, "labelled", self.state, self.seed)
        folds = deal_folds(relevance.units, self.seed)  # (T,)
        of_request = folds[np.unique(relevance.requests, return_index=True)[1]]  # (Q,)
        ranks = {name: np.empty(len(requests.queries)) for name in (WRITTEN, LABELLED, CHOSEN)}
        surface, orders = SETTINGS.all_surfaces()[SEARCH], []
        for fold in np.unique(folds):
            with self.clock.stage(LABELLED):
                known = labelled.where(of_request != fold)
                learned = SearchRows.joined([*self.others, self.written, known])
                by_labelled = self._train(learned)
            with self.clock.stage(CHOSEN):
                orders.append(self._choose(learned))
            own = folds == fold
            asked = requests.where(own)
            rankers = {WRITTEN: _interact(by_written), LABELLED: _interact(by_labelled)}
            found = rank_targets(surface, asked, self.state, rankers, self.clock)
            served = replace(self.state, ranker=by_labelled if orders[-1].on else None)
            with self.clock.stage(CHOSEN):
                ranks[CHOSEN][own] = rank_listed_targets(surface, asked, served)
            for name, values in found.items():
                ranks[name][own] = values
        return SearchRanks(ranks, orders)

    def _choose(self, learned: SearchRows) -> Decision:
        """What a training would let order search that has learned from these rows."""
        sample = RankerSample(learned.rows, FEATURES, learned.requests)
        return choose_search_order(sample, learned.compared, SETTINGS, TrainOptions(self.seed))

    def _train(self, learned: SearchRows) -> Ranker:
        return Ranker(SETTINGS.ranker).train(learned.rows, FEATURES, TrainOptions(self.seed))


def _interact(ranker: Ranker) -> RankerFunction:
    """Values of the only action that the rankers of the benchmark learn."""
    return lambda features, tasks: ranker.predict(features, tasks)[:, 0]


def build_search_rows(
    requests: RequestSet, source: SearchSource, state: EngineState, seed: int
) -> SearchRows:
    """Rows of searches as the product makes them."""
    labelled = label_requests(requests, source)
    weight = SETTINGS.ranker.searches.written if source == "written" else 1.0
    weighed = [replace(one, weight=weight) for one in labelled]
    rng, parts, compared = np.random.default_rng(seed), [], []
    for begin in range(0, len(weighed), BATCH):
        some = weighed[begin : begin + BATCH]
        found = label_candidates(some, SEARCH, state, SETTINGS, begin)
        parts.append(found.sample(some, rng))
        if found.searches is not None:
            compared.append(found.searches)
    return SearchRows(_concatenate(parts), weighed, SearchCandidates.joined(compared))


def _shift(rows: RankerRows, first: int) -> RankerRows:
    """Rows whose requests are numbered from ``first`` on instead of from 0."""
    return replace(rows, group=rows.group + first)


def _concatenate(parts: Sequence[RankerRows]) -> RankerRows:
    names = ("features", *PER_ROW)
    return RankerRows(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


def label_requests(requests: RequestSet, source: SearchSource) -> list[LabelledQuery]:
    """Q labelled queries, in the order of the request numbers; grades are weights."""
    count = len(requests.queries)
    groups, gains = np.arange(count), np.ones(count)  # (T,) each
    if requests.relevance is not None:
        groups, gains = requests.relevance.requests, requests.relevance.gains
    labelled = []
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        relevant, refused = rows[gains[rows] > 0], rows[gains[rows] == 0]
        labelled.append(
            LabelledQuery(
                requests.queries[int(rows[0])],
                requests.items[relevant],
                [label_actions(liked=True, actions=())] * len(relevant),
                weights=gains[relevant].astype(np.float32),
                irrelevant=requests.items[refused],
                source=source,
            )
        )
    return labelled


def require_relevance(requests: RequestSet) -> Relevance:
    """The grouping of a request set; every row is a request and a unit of its own without one."""
    if requests.relevance is not None:
        return requests.relevance
    rows = np.arange(len(requests.queries))
    return Relevance(rows, rows, np.ones(len(rows)))


def deal_folds(units: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Fold (T,) of each row; rows of a unit (T,) are in the same one."""
    names, rows = np.unique(units, return_inverse=True)
    folds = np.random.default_rng(seed).permutation(len(names)) % NUM_FOLDS  # (U,)
    return np.asarray(folds[rows], np.intp)
