"""Search ordered by the engine's ranker, by what the ranker has learned search from.

Candidates, features and network are those of the row ``engine``, and home and similar items are
learned as there. What search is learned from differs, with the weights of ``[ranker.searches]``:

- ``ranker-written``: queries written for items, the validation queries of the data set;
- ``ranker-labelled``: these, and the queries of people of the same set that are in other folds,
  with their relevant and irrelevant items. Units (tags, conversations, queries) are dealt into
  folds, and each fold is ordered by a ranker that has seen none of its units.

Both order search without the check of a training; ``engine`` fuses the same candidates by rank.

Shapes: T rows of requests, Q requests, U units.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.engine.state import EngineState
from serendip.evaluate.runs import Values
from serendip.jobs.train.labelled_query import LabelledQuery
from serendip.jobs.train.ranker_actions import label_actions
from serendip.jobs.train.ranker_rows import build_rows
from serendip.jobs.train.search_rows import weigh_searches
from serendip.models.ranker.config import RankerRows, SearchSource
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
    rank_targets,
    split_requests,
)
from serendip_bench.unified.rows import UnifiedTask, name_request_set

NUM_FOLDS = 5
SEARCH = "search"
WRITTEN, LABELLED = "ranker-written", "ranker-labelled"


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
        ranks = {
            name: learner.rank(split.tests[name])
            for name in dict.fromkeys(map(name_request_set, task.keys))
        }
    sources_s = read_costs(Path(task.model_folder))[0] + sum_seconds(clock, SOURCES)
    rows = []
    for key in task.keys:
        name, model = name_request_set(key), str(key["model"])
        costs = {
            "cpu_s": round(sources_s + sum_seconds(clock, model), 3),
            "params": retriever.num_parameters,
        }
        measurement = Measurement(
            ranks[name][model], np.empty((0, 3)), sum_seconds(clock, CANDIDATES)
        )
        rows.append(build_row(task, key, split.tests[name], measurement, costs))
    return rows


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
    others: Sequence[RankerRows]
    written: RankerRows
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
        return cls(state, rows, written, seed, clock)

    def rank(self, requests: RequestSet) -> dict[str, Values]:
        """Ranks (T,) of the targets of one request set, by model."""
        relevance = require_relevance(requests)
        with self.clock.stage(WRITTEN):
            by_written = self._train()
        with self.clock.stage(LABELLED):
            labelled = build_search_rows(requests, "labelled", self.state, self.seed)
        folds = deal_folds(relevance.units, self.seed)  # (T,)
        of_request = folds[np.unique(relevance.requests, return_index=True)[1]]  # (Q,)
        ranks = {name: np.empty(len(requests.queries)) for name in (WRITTEN, LABELLED)}
        for fold in np.unique(folds):
            with self.clock.stage(LABELLED):
                known = select_rows(labelled, (of_request != fold)[labelled.group])
                by_labelled = self._train(known)
            rankers = {WRITTEN: by_written, LABELLED: by_labelled}
            asked, surface = requests.where(folds == fold), SETTINGS.all_surfaces()[SEARCH]
            found = rank_targets(surface, asked, self.state, rankers, self.clock)
            for name, values in found.items():
                ranks[name][folds == fold] = values
        return ranks

    def _train(self, *more: RankerRows) -> RankerFunction:
        rows = join_rows([*self.others, self.written, *more])
        ranker = Ranker(SETTINGS.ranker).train(rows, FEATURES, TrainOptions(self.seed))
        return lambda features, tasks: ranker.predict(features, tasks)[:, 0]


def build_search_rows(
    requests: RequestSet, source: SearchSource, state: EngineState, seed: int
) -> RankerRows:
    """Rows of searches as the product makes them; ``group`` is the number of the request."""
    labelled = label_requests(requests, source)
    ((_, weighed),) = weigh_searches([(SEARCH, labelled)], SETTINGS.ranker.searches)
    return build_rows(weighed, SEARCH, state, SETTINGS, 0, np.random.default_rng(seed))


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


_FIELDS = ("features", "task", "labels", "weights", "group")


def select_rows(rows: RankerRows, mask: NDArray[np.bool_]) -> RankerRows:
    """The rows of a mask (R,)."""
    return RankerRows(**{name: getattr(rows, name)[mask] for name in _FIELDS})


def join_rows(parts: Sequence[RankerRows]) -> RankerRows:
    """All rows; requests of different parts stay different ones."""
    ends = np.cumsum([0, *(int(part.group.max(initial=-1)) + 1 for part in parts)])
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS}
    offsets = np.repeat(ends[:-1], [len(part) for part in parts])
    return RankerRows(**{**columns, "group": columns["group"] + offsets})
