"""``serendip judge report``: the effect of the relevance filter on what each surface shows.

Of every surface it says whether the filter is on, from which threshold on, and why. Where it is on:

- by gold labels, if the surface answers typed texts: each query that the model was not trained on,
  and that did not choose its threshold, is sent to the published generation with and without the
  filter. Reported are the share of the first positions that were replaced, and the irrelevant share
  of the labelled ones, with intervals over queries;
- by the log: the share of the shown and of the chosen items of logged requests that the filter
  would have left out, and the choices that a thousand requests would lose so. That is the most that
  it can cost: users chose these items from lists without the filter, and something else takes their
  places.

The guarantee of a threshold holds for texts like those of the gold labels. ``drift`` compares what
the model says of the first items of both, and warns if the logged texts differ.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.query import Query
from serendip.data.search_log import LoggedRequest
from serendip.engine.engine import Engine
from serendip.engine.generations import open_current
from serendip.engine.request import Request
from serendip.engine.stages.base import OrderedCandidates
from serendip.engine.stages.pipeline import run
from serendip.engine.stages.relevance_filter import RelevanceFilter, query_words
from serendip.engine.stages.surfaces import SurfaceConfig, find_surface, visible_to
from serendip.errors import DataError
from serendip.evaluate.intervals import UNIT_RANGE, Support, estimate
from serendip.jobs.context import JobContext
from serendip.jobs.labels.pair_files import Pair, read_labels
from serendip.jobs.relevance.decisions import FilterDecision, read_decisions
from serendip.jobs.relevance.versions import open_version
from serendip.jobs.surface_quality.answers import without_relevance_filter
from serendip.jobs.train.drift import stability_index
from serendip.llm.prompts import query_digest
from serendip.runtime.atomic_files import write_json

FILE = "relevance.json"
SLATE_SIZE = 10
_MAX_REQUESTS = 2_000
"""Most logged requests of a surface in the report, the newest ones."""

MIN_TEXTS, _MAX_TEXTS = 30, 500
"""Texts of the gold and of the log that drift is measured from on, and up to which."""

DRIFTED = 0.25
"""Population stability index from which the logged texts are called others, the usual bound."""

_TENTHS = 10
_PRIOR = 0.5
"""Pseudo-count of each tenth, so that an empty one has a logarithm."""


@dataclass(frozen=True, slots=True, eq=False)
class FilteredSlate:
    """First items of a query's results by number, without and with the filter."""

    query: str
    plain: IntArray
    filtered: IntArray


def report_relevance(
    context: JobContext, gold: Path, surfaces: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure the filters of the published generation; write ``reports/relevance.json``.

    Args:
        context: workspace with a published generation.
        gold: labels by people.
        surfaces: names; empty = all.

    Raises:
        DataError: the gold labels are damaged, or the model has seen all of their queries.
        NotTrainedError: nothing is published.
        UnsupportedError: a surface is not configured.
    """
    labels, workspace = read_labels(gold), context.workspace
    configured = workspace.settings.all_surfaces()
    manifest = open_current(workspace.generations, verify=False).manifest
    decisions = read_decisions(manifest)
    model = str(manifest["relevance_model"] or "")
    engine = Engine.open(workspace.folder)
    with closing(engine):
        meter = FilterMeter(context, engine, labels, _read_seen(context, model))
        found = {
            name: meter.measure(name, find_surface(configured, name), decisions.get(name, _UNKNOWN))
            for name in surfaces or configured
        }
        report = {
            "generation": engine.generation,
            "model": model or None,
            "surfaces": found,
            "drift": meter.measure_drift() if model else None,
        }
    write_json(workspace.reports / FILE, report)
    return report


_UNKNOWN = FilterDecision.off("it was configured after the training (`serendip train`)")


def _read_seen(context: JobContext, model: str) -> frozenset[str]:
    """Digests of the queries that trained the model, or chose its threshold."""
    if not model:
        return frozenset()
    return frozenset(open_version(context.workspace.relevance, model).manifest["seen"])


@dataclass(frozen=True, slots=True, eq=False)
class FilterMeter:
    """Measures the filters of one generation.

    Args:
        context: log and progress.
        engine: of the generation.
        labels: pair -> whether it is irrelevant, by people.
        seen: digests of queries that the model knows.
    """

    context: JobContext
    engine: Engine
    labels: Mapping[Pair, bool]
    seen: frozenset[str]

    def measure(
        self, name: str, surface: SurfaceConfig, decision: FilterDecision
    ) -> dict[str, Any]:
        """Decision, effect by gold labels and cost by the log of one surface."""
        reads_text = surface.needs == "query"
        rule = RelevanceFilter(surface.relevance_filter, reads_text)
        if not decision.on or not rule.is_on(self.engine.state):
            return {**asdict(decision), "gold": None, "log": None}
        gold = self._compare_with_labels(surface) if reads_text else None
        log = self._replay_log(name, surface, rule) if surface.needs != "items" else None
        return {**asdict(decision), "gold": gold, "log": log}

    def measure_drift(self) -> dict[str, Any]:
        """Whether the first items of logged texts look as relevant as those of gold queries."""
        texts = [one.text for one in self.context.dataset.requests if one.text.strip()]
        logged = list(dict.fromkeys(reversed(texts)))[:_MAX_TEXTS]
        gold = list(dict.fromkeys(query for query, _ in self.labels))[:_MAX_TEXTS]
        counts = {"gold_texts": len(gold), "logged_texts": len(logged)}
        if min(counts.values()) < MIN_TEXTS:
            return {**counts, "index": None, "warning": ""}
        index = compare_tenths(*(self._first_probabilities(part) for part in (gold, logged)))
        warning = ""
        if index >= DRIFTED:
            warning = (
                f"logged texts differ from the gold queries (index {index:.2f}): the guarantee of "
                "a threshold does not hold for them; label some of them and distil again"
            )
        return {**counts, "index": index, "warning": warning}

    def _first_probabilities(self, texts: Sequence[str]) -> FloatArray:
        """(P,) P(irrelevant) of the first items of the unfiltered lists of texts."""
        state = self.engine.state
        assert state.relevance_model is not None
        surface = self.engine.settings.all_surfaces()["search"]
        parts = [np.empty(0, np.float32)]
        for text in texts:
            (query,) = self.engine.queries([Request("search", text=text)])
            items = run([query], without_relevance_filter(surface), state)[0].items
            words = query_words(state.relevance_model, state, query)
            if words is not None:
                first = items.item_nums[:SLATE_SIZE]
                parts.append(state.relevance_model.probabilities(*words, first))
        found = np.concatenate(parts)
        return found[np.isfinite(found)]

    def _compare_with_labels(self, surface: SurfaceConfig) -> dict[str, Any]:
        """Replaced and irrelevant shares of the first positions, means over queries.

        Raises:
            DataError: the model has seen all queries.
        """
        queries = list(dict.fromkeys(query for query, _ in self.labels))
        unseen = [query for query in queries if query_digest(query) not in self.seen]
        if not unseen:
            raise DataError(
                f"the relevance model has seen all {len(queries)} queries of the gold labels.",
                "Give labels of other queries.",
            )
        progress = self.context.options.progress
        slates = [
            self._search(query, surface)
            for query in progress.track(unseen, "Searching", len(unseen))
        ]
        shares = _compare_slates(slates, self.labels, self.engine)
        return {"seen_queries": len(queries) - len(unseen), **shares}

    def _search(self, text: str, surface: SurfaceConfig) -> FilteredSlate:
        """The first items of a query, without and with the filter."""
        (query,) = self.engine.queries([Request("search", text=text)])
        results = (
            run([query], config, self.engine.state)[0]
            for config in (without_relevance_filter(surface), surface)
        )
        return FilteredSlate(text, *(one.items.item_nums[:SLATE_SIZE] for one in results))

    def _replay_log(
        self, name: str, surface: SurfaceConfig, rule: RelevanceFilter
    ) -> dict[str, Any]:
        """Share of the shown and of the chosen items that the filter would have left out."""
        removed: dict[str, list[bool]] = {"shown": [], "chosen": []}
        lost: list[float] = []
        for request, query in _logged_requests(self.context.dataset, name, surface, self.engine):
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
            "choices_lost_per_1000": _per_thousand(lost),
        }


def compare_tenths(expected: FloatArray, found: FloatArray) -> float:
    """Population stability index of two samples of probabilities, over tenths of the first.

    Args:
        expected: (P,) probabilities whose tenths are the groups.
        found: (R,) probabilities.
    """
    borders = np.quantile(expected, np.arange(1, _TENTHS) / _TENTHS)  # (9,)
    profiles = []
    for sample in (expected, found):
        counts = np.bincount(np.searchsorted(borders, sample, side="right"), minlength=_TENTHS)
        profiles.append((counts + _PRIOR) / (counts.sum() + _TENTHS * _PRIOR))
    return stability_index(profiles[0], profiles[1])


def _compare_slates(
    slates: Iterable[FilteredSlate], labels: Mapping[Pair, bool], engine: Engine
) -> dict[str, Any]:
    replaced, before, after = [], [], []
    for slate in slates:
        is_removed = ~np.isin(slate.plain, slate.filtered)
        replaced.append(float(is_removed.mean()) if len(is_removed) else 0.0)
        is_irrelevant = [
            _labels_of(slate.query, items, labels, engine)
            for items in (slate.plain, slate.filtered)
        ]
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


def _per_thousand(lost: Sequence[float]) -> dict[str, Any] | None:
    """Choices that a thousand requests lose at most, with an interval over requests."""
    if not lost:
        return None
    most = max(1.0, max(lost))
    mean = estimate(np.array(lost) / most)
    value, low, high = (
        None if end is None else 1_000 * most * end for end in (mean.value, mean.low, mean.high)
    )
    return {"value": value, "ci95": [low, high]}


def _mean(values: Sequence[float], support: Support = UNIT_RANGE) -> dict[str, Any] | None:
    """Mean with its interval over queries; None for no values."""
    if not values:
        return None
    mean = estimate(np.array(values), support=support)
    return {"value": mean.value, "ci95": [mean.low, mean.high]}
