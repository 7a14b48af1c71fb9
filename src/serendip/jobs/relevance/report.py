"""``serendip judge report``: the effect of the relevance filter on what each surface shows.

Of every surface it says whether the filter is on, from which threshold on, and why. Where it is on:

- by gold labels of its requests: each request that the model was not trained on, and that did not
  choose its threshold, is sent to the published generation with and without the filter. Reported
  are the share of the first positions that were replaced, and the irrelevant share of the labelled
  ones, with intervals over requests. Gold of typed texts is about the surfaces that answer these,
  gold of lists about their surface;
- by the log: the share of the shown and of the chosen items of logged requests that the filter
  would have left out, and the choices that a thousand requests would lose so. That is the most that
  it can cost: users chose these items from lists without the filter, and something else takes their
  places.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.dataset import Dataset
from serendip.data.events.search_log import LoggedRequest
from serendip.data.query import History, Query
from serendip.engine.artefacts.generations import open_current
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.base import FIRST, OrderedCandidates
from serendip.engine.stages.relevance_filter import RelevanceFilter
from serendip.engine.stages.surfaces import SurfaceConfig, find_surface, visible_to
from serendip.engine.state import TYPED_TEXTS
from serendip.errors import DataError
from serendip.evaluate.intervals import UNIT_RANGE, Support, estimate
from serendip.jobs.context import JobContext
from serendip.jobs.labels.pair_files import Pair, read_labels
from serendip.jobs.labels.shown_lists import ListRequest
from serendip.jobs.relevance.decisions import FilterDecision, read_decisions, read_model_names
from serendip.jobs.relevance.labelled_pairs import AskedRequests
from serendip.jobs.relevance.versions import model_folder, open_version
from serendip.jobs.surface_quality.answers import without_relevance_filter
from serendip.jobs.whole_answers import answer_whole
from serendip.llm.prompts import query_digest
from serendip.models.relevance.user_features import COUNTRY
from serendip.runtime.atomic_files import write_json

FILE = "relevance.json"
_MAX_REQUESTS = 2_000
"""Most logged requests of a surface in the report, the newest ones."""


Slate: TypeAlias = tuple[str, IntArray, IntArray]
"""First items of a query's results by number, without and with the filter."""


def report_relevance(
    context: JobContext, gold: Path, surfaces: Sequence[str] = (), lists: Path | None = None
) -> dict[str, Any]:
    """Measure the filters of the published generation; write ``reports/relevance.json``.

    Args:
        context: workspace with a published generation.
        gold: labels by people.
        surfaces: names; empty = all.
        lists: file of the lists that the labels are about; None = they are about typed texts.

    Raises:
        DataError: the gold labels are damaged, or the model has seen all of their queries.
        NotTrainedError: nothing is published.
        UnsupportedError: a surface is not configured.
    """
    labels, workspace = read_labels(gold), context.workspace
    configured = workspace.settings.all_surfaces()
    asked = AskedRequests.read(lists, list(labels))
    about = TYPED_TEXTS
    if asked.surface:
        about = find_surface(configured, asked.surface).labels_of(asked.surface)
    manifest = open_current(workspace.generations, verify=False).manifest
    decisions, models = read_decisions(manifest), read_model_names(manifest)
    engine = Engine.open(workspace.folder)
    with closing(engine):
        seen = {name: _read_seen(context, name, model) for name, model in models.items()}
        gold_labels = GoldLabels(labels, asked.requests, about)
        evaluator = FilterEvaluator(context, engine, gold_labels, seen)
        found = {
            name: evaluator.measure(
                name, find_surface(configured, name), decisions.get(name, _UNKNOWN)
            )
            for name in surfaces or configured
        }
        report = {
            "generation": engine.generation,
            "models": models,
            "surfaces": found,
        }
    write_json(workspace.reports / FILE, report)
    return report


_UNKNOWN = FilterDecision.off("it was configured after the training (`serendip train`)")


def _read_seen(context: JobContext, labels: str, model: str) -> frozenset[str]:
    """Digests of the queries that trained a model, or chose its threshold."""
    folder = model_folder(context.workspace, labels)
    return frozenset(open_version(folder, model).manifest["seen"])


@dataclass(frozen=True, slots=True)
class GoldLabels:
    """Labels by people.

    Args:
        labels: pair -> whether it is irrelevant.
        requests: by the words by which the labels name them.
        about: surface whose labels they are.
    """

    labels: Mapping[Pair, bool]
    requests: Mapping[str, ListRequest]
    about: str

    @property
    def names(self) -> list[str]:
        """Different requests, in order."""
        return list(dict.fromkeys(query for query, _ in self.labels))


@dataclass(frozen=True, slots=True, eq=False)
class FilterEvaluator:
    """Measures the filters of one generation.

    Args:
        context: log and progress.
        engine: of the generation.
        gold: labels by people.
        seen: digests of queries that a model knows, by the surface of its labels.
    """

    context: JobContext
    engine: Engine
    gold: GoldLabels
    seen: Mapping[str, frozenset[str]]

    def measure(
        self, name: str, surface: SurfaceConfig, decision: FilterDecision
    ) -> dict[str, Any]:
        """Decision, effect by gold labels and cost by the log of one surface."""
        rule = RelevanceFilter(surface.relevance_filter)
        if not decision.on or not rule.is_on(self.engine.state):
            return {**asdict(decision), "gold": None, "log": None}
        is_about = surface.labels_of(name) == self.gold.about
        gold = self._compare_with_labels(name, surface) if is_about else None
        log = self._replay_log(name, surface, rule) if surface.needs != "items" else None
        return {**asdict(decision), "gold": gold, "log": log}

    def _ask(self, name: str, query: str) -> Query:
        """The query of a gold request: its text, and what it tells of the user."""
        request = self.gold.requests[query]
        (asked,) = self.engine.queries([Request(name, text=request.text)])
        past = self.engine.state.catalogue.vocabulary.numbers(request.past)
        attributes = dict(request.attributes)
        country = attributes.pop(COUNTRY, "")
        return replace(
            asked,
            history=History.of_items(past[past >= 0]),
            country=country,
            user_groups=attributes,
        )

    def _compare_with_labels(self, name: str, surface: SurfaceConfig) -> dict[str, Any]:
        """Replaced and irrelevant shares of the first positions, means over queries.

        Raises:
            DataError: the model has seen all queries.
        """
        queries, labels = self.gold.names, surface.relevance_filter.labels
        seen = self.seen.get(labels, self.seen.get(TYPED_TEXTS, frozenset()))
        unseen = [query for query in queries if not self._is_seen(query, seen)]
        if not unseen:
            raise DataError(
                f"the relevance model has seen all {len(queries)} queries of the gold labels.",
                "Give labels of other queries.",
            )
        progress = self.context.options.progress
        slates = [
            self._answer(name, query, surface)
            for query in progress.track(unseen, "Searching", len(unseen))
        ]
        shares = _compare_slates(slates, self.gold.labels, self.engine)
        return {"seen_queries": len(queries) - len(unseen), **shares}

    def _is_seen(self, query: str, seen: frozenset[str]) -> bool:
        """Whether the model knows the request, or one that says much the same."""
        return query_digest(self.gold.requests[query].group) in seen

    def _answer(self, name: str, request: str, surface: SurfaceConfig) -> Slate:
        """The first items of a gold request, without and with the filter."""
        query = self._ask(name, request)
        plain, filtered = (
            answer_whole([query], config, self.engine.state)[0].items.item_nums[:FIRST]
            for config in (without_relevance_filter(surface), surface)
        )
        return request, plain, filtered

    def _logged(self, name: str, surface: SurfaceConfig) -> Iterator[tuple[LoggedRequest, Query]]:
        return _logged_requests(self.context.dataset, name, surface, self.engine)

    def _replay_log(
        self, name: str, surface: SurfaceConfig, rule: RelevanceFilter
    ) -> dict[str, Any]:
        """Share of the shown and of the chosen items that the filter would have left out."""
        removed: dict[str, list[bool]] = {"shown": [], "chosen": []}
        lost: list[float] = []
        for request, query in self._logged(name, surface):
            for kind, numbers in (("shown", request.shown), ("chosen", request.chosen)):
                keeps = rule.keep(_to_candidates(query, numbers, self.engine)).mask
                removed[kind] += (~keeps[: surface.relevance_filter.depth]).tolist()
                if kind == "chosen":
                    lost.append(float((~keeps).sum()))
        return {
            "requests": len(lost),
            **{kind: len(flags) for kind, flags in removed.items()},
            **{
                f"{kind}_left_out": float(np.mean(flags)) if flags else None
                for kind, flags in removed.items()
            },
            "choices_lost_per_1000": _mean(lost, (0.0, max([1.0, *lost])), times=1_000.0),
        }


def _compare_slates(
    slates: Iterable[Slate], labels: Mapping[Pair, bool], engine: Engine
) -> dict[str, Any]:
    replaced, before, after = [], [], []
    for query, plain, filtered in slates:
        is_removed = ~np.isin(plain, filtered)
        replaced.append(float(is_removed.mean()) if len(is_removed) else 0.0)
        is_irrelevant = [_labels_of(query, items, labels, engine) for items in (plain, filtered)]
        if all(is_irrelevant):
            before.append(float(np.mean(is_irrelevant[0])))
            after.append(float(np.mean(is_irrelevant[1])))
    return {
        "queries": len(replaced),
        "judged_queries": len(before),
        "replaced": _mean(replaced),
        "irrelevant_before": _mean(before),
        "irrelevant_after": _mean(after),
        "difference": _mean(np.subtract(after, before).tolist(), (-1.0, 1.0)),
    }


def _labels_of(
    query: str, numbers: IntArray, labels: Mapping[Pair, bool], engine: Engine
) -> list[bool]:
    """Labels of the shown items that have one: whether they are irrelevant."""
    pairs = [(query, item) for item in engine.item_ids(numbers)]
    return [labels[pair] for pair in pairs if pair in labels]


def _to_candidates(query: Query, numbers: IntArray, engine: Engine) -> OrderedCandidates:
    """Items of one logged request as the filter reads them: organic, none pinned."""
    no_value, is_pinned = np.zeros(len(numbers), np.float32), np.zeros(len(numbers), np.bool_)
    return OrderedCandidates(query, engine.state, numbers, no_value, ~is_pinned, is_pinned)


def _logged_requests(
    dataset: Dataset, name: str, surface: SurfaceConfig, engine: Engine
) -> Iterator[tuple[LoggedRequest, Query]]:
    """The newest requests of a surface, with item numbers of the engine and the past of then."""
    vocabulary = engine.state.catalogue.vocabulary
    ids = dataset.catalogue.vocabulary.ids_of(np.arange(dataset.num_items, dtype=np.int32))
    numbers = vocabulary.numbers(ids)
    requests = [
        request
        for request in dataset.requests
        if request.surface == name and (request.text.strip() or surface.needs != "query")
    ]
    for request in requests[-_MAX_REQUESTS:]:
        asked = Request(name, text=request.text, user_id=request.user_id)
        (query,) = engine.queries([asked])
        query = replace(query, history=query.history.before(request.timestamp))
        yield request.renumbered(numbers), visible_to(surface, query)


def _mean(
    values: Sequence[float], support: Support = UNIT_RANGE, times: float = 1.0
) -> dict[str, Any] | None:
    """Mean with its interval over queries, so many times; None for no values."""
    if not values:
        return None
    mean = estimate(np.array(values), support=support)
    value, low, high = (times * (end or 0.0) for end in (mean.value, mean.low, mean.high))
    return {"value": value, "ci95": [low, high]}
