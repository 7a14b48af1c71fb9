"""``serendip judge report``: the effect of the relevance filter on what the engine shows.

By gold labels: each query that the model was not trained on, and that did not choose its threshold,
is sent to the published generation with and without the surface's filter. Reported are the share of
the first positions that the filter replaced, and the irrelevant share of the labelled ones, with
intervals over queries.

By the log: the share of the shown and of the chosen items of logged requests that the filter would
have left out. The second is its cost in clicks; users chose these items from lists without the
filter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.dataset import Dataset
from serendip.data.query import Query
from serendip.data.search_log import LoggedRequest
from serendip.engine.engine import Engine
from serendip.engine.generations import open_current
from serendip.engine.request import Request
from serendip.engine.stages.base import OrderedCandidates
from serendip.engine.stages.pipeline import run
from serendip.engine.stages.relevance_filter import RelevanceFilter, RelevanceFilterConfig
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError, NotTrainedError
from serendip.evaluate.intervals import UNIT_RANGE, Support, estimate
from serendip.jobs.context import JobContext
from serendip.jobs.labels.pair_files import Pair, read_labels
from serendip.jobs.relevance.versions import open_version
from serendip.llm.prompts import query_digest
from serendip.models.relevance.model import RelevanceModel
from serendip.runtime.atomic_files import write_json

FILE = "relevance.json"
SLATE_SIZE = 10
_MAX_REQUESTS = 2_000
"""Most logged requests in the report, the newest ones."""


@dataclass(frozen=True, slots=True, eq=False)
class FilteredSlate:
    """First items of a query's results by number, without and with the filter."""

    query: str
    plain: IntArray
    filtered: IntArray


def report_relevance(context: JobContext, gold: Path, surface: str) -> dict[str, Any]:
    """Measure the filter of the published generation; write ``reports/relevance.json``.

    Args:
        context: workspace with a published generation that has a relevance model.
        gold: labels by people.
        surface: one that searches and has a relevance filter.

    Raises:
        ConfigError: the surface has no relevance filter, or does not search.
        NotTrainedError: the generation has no relevance model.
        DataError: the gold labels are damaged, or the model has seen all of their queries.
    """
    labels, workspace = read_labels(gold), context.workspace
    engine = Engine.open(workspace.folder)
    with closing(engine):
        config, model = _require_filter(workspace, engine, surface)
        queries, num_seen = _unseen_queries(dict.fromkeys(query for query, _ in labels), workspace)
        slates = [
            _search(query, config, engine)
            for query in context.options.progress.track(queries, "Searching", len(queries))
        ]
        report = {
            "surface": surface,
            "generation": engine.generation,
            "threshold": model.threshold if config[1].threshold is None else config[1].threshold,
            "gold": {"seen_queries": num_seen, **_compare_with_labels(slates, labels, engine)},
            "log": _replay_log(context.dataset, config, engine),
        }
    write_json(workspace.reports / FILE, report)
    return report


def _unseen_queries(queries: Iterable[str], workspace: Workspace) -> tuple[list[str], int]:
    """Queries that neither trained the generation's model nor chose its threshold.

    Returns:
        these queries, and the number of the others.

    Raises:
        DataError: the model has seen all queries.
    """
    name = str(open_current(workspace.generations, verify=False).manifest["relevance_model"])
    seen = set(open_version(workspace.relevance, name).manifest["seen"])
    gold_queries = list(queries)
    unseen = [query for query in gold_queries if query_digest(query) not in seen]
    if not unseen:
        raise DataError(
            f"the relevance model {name} has seen all {len(gold_queries)} queries of the gold "
            "labels.",
            "Give labels of other queries.",
        )
    return unseen, len(gold_queries) - len(unseen)


_FilteredSurface = tuple[SurfaceConfig, RelevanceFilterConfig]


def _require_filter(
    workspace: Workspace, engine: Engine, name: str
) -> tuple[_FilteredSurface, RelevanceModel]:
    config = workspace.settings.all_surfaces().get(name)
    if config is None or config.relevance_filter is None or config.needs != "query":
        raise ConfigError(
            f"the surface {name!r} is not a search with a relevance filter.",
            f"Add [surfaces.{name}.relevance_filter] to serendip.toml.",
        )
    if engine.state.relevance_model is None:
        raise NotTrainedError(
            f"{engine.generation} has no relevance model.", "Run `serendip train`."
        )
    return (config, config.relevance_filter), engine.state.relevance_model


def _search(text: str, config: _FilteredSurface, engine: Engine) -> FilteredSlate:
    """The first items of a query, without and with the filter."""
    (query,) = engine.queries([Request("search", text=text)])
    surface, state = config[0], engine.state
    plain = run([query], surface.model_copy(update={"relevance_filter": None}), state)[0]
    filtered = run([query], surface, state)[0]
    items = (result.items.item_nums[:SLATE_SIZE] for result in (plain, filtered))
    return FilteredSlate(text, *items)


def _compare_with_labels(
    slates: Sequence[FilteredSlate], labels: dict[Pair, bool], engine: Engine
) -> dict[str, Any]:
    """Replaced and irrelevant shares of the first positions, means over queries."""
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
        "queries": len(slates),
        "judged_queries": len(before),
        "replaced": _mean(replaced),
        "irrelevant_before": _mean(before),
        "irrelevant_after": _mean(after),
        "difference": _mean(np.subtract(after, before).tolist(), (-1.0, 1.0)),
    }


def _labels_of(
    query: str, numbers: IntArray, labels: dict[Pair, bool], engine: Engine
) -> list[bool]:
    """Labels of the shown items that have one: whether they are irrelevant."""
    pairs = [(query, item) for item in engine.item_ids(numbers)]
    return [labels[pair] for pair in pairs if pair in labels]


def _to_candidates(query: Query, numbers: IntArray, engine: Engine) -> OrderedCandidates:
    """Items of one logged request as the filter reads them: organic, none pinned."""
    no_value, is_pinned = np.zeros(len(numbers), np.float32), np.zeros(len(numbers), np.bool_)
    return OrderedCandidates(query, engine.state, numbers, no_value, ~is_pinned, is_pinned)


def _replay_log(dataset: Dataset, config: _FilteredSurface, engine: Engine) -> dict[str, Any]:
    """Share of the shown and of the chosen items that the filter would have left out."""
    shown: list[bool] = []
    chosen: list[bool] = []
    requests = 0
    relevance_filter = RelevanceFilter(config[1])
    for request, query in _logged_requests(dataset, engine):
        requests += 1
        for numbers, is_removed in ((request.shown, shown), (request.chosen, chosen)):
            keeps = relevance_filter.keep(_to_candidates(query, numbers, engine)).mask
            is_removed.extend((~keeps[: config[1].depth]).tolist())
    return {
        "requests": requests,
        "shown": len(shown),
        "chosen": len(chosen),
        "shown_left_out": float(np.mean(shown)) if shown else None,
        "chosen_left_out": float(np.mean(chosen)) if chosen else None,
    }


def _logged_requests(dataset: Dataset, engine: Engine) -> Iterator[tuple[LoggedRequest, Query]]:
    """The newest requests with text, with item numbers of the engine."""
    vocabulary = engine.state.catalogue.vocabulary
    ids = dataset.catalogue.vocabulary.ids_of(np.arange(dataset.num_items, dtype=np.int32))
    numbers = vocabulary.numbers(ids)
    requests = [request for request in dataset.requests if request.text.strip()][-_MAX_REQUESTS:]
    for request in requests:
        (query,) = engine.queries([Request("search", text=request.text)])
        yield request.renumbered(numbers), query


def _mean(values: Sequence[float], support: Support = UNIT_RANGE) -> dict[str, Any] | None:
    """Mean with its interval over queries; None for no values."""
    if not values:
        return None
    mean = estimate(np.array(values), support=support)
    return {"value": mean.value, "ci95": [mean.low, mean.high]}
