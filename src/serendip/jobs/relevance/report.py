"""``serendip judge report``: what the filter of bad matches does to what the engine shows.

Two views. Of labels by people: each query that the student has not learned from, and that chose no
threshold, is answered by the published generation, with and without the surface's filter; told are
the share of the first places that the filter changed, and the
bad share of the places that people have judged, with intervals over queries. Of the log: of what
was shown and chosen on logged requests, how much the filter would have left out. What it costs in
clicks is the second figure of these; it is what people chose from lists without it.
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
from serendip.jobs.relevance.versions import model_named
from serendip.llm.prompts import query_digest
from serendip.models.relevance.model import RelevanceModel
from serendip.runtime.atomic_files import write_json

FILE = "relevance.json"
SHOWN = 10
_REQUESTS = 2_000
"""Newest logged requests that are told of."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """First places of a query's list, in numbers, as the filter leaves it and without it."""

    query: str
    plain: IntArray
    filtered: IntArray


def judge_report(context: JobContext, gold: Path, surface: str) -> dict[str, Any]:
    """Ask the published generation, and write ``reports/relevance.json``.

    Args:
        context: workspace with a published generation that has a judge.
        gold: labels by people.
        surface: one that searches and leaves bad matches out.

    Raises:
        ConfigError: the surface leaves no bad matches out, or searches not.
        NotTrainedError: the generation has no judge.
        DataError: the gold is broken, or the student has seen all of its queries.
    """
    labels, workspace = read_labels(gold), context.workspace
    engine = Engine.open(workspace.folder)
    with closing(engine):
        config, judge = _asked(workspace, engine, surface)
        queries, seen = _unseen(dict.fromkeys(query for query, _ in labels), workspace)
        shown = [
            _shown(query, config, engine)
            for query in context.options.progress.track(queries, "Asking", len(queries))
        ]
        told = {
            "surface": surface,
            "generation": engine.generation,
            "threshold": judge.threshold if config[1].threshold is None else config[1].threshold,
            "gold": {"seen_queries": seen, **_by_people(shown, labels, engine)},
            "log": _of_log(context.dataset, config, engine),
        }
    write_json(workspace.reports / FILE, told)
    return told


def _unseen(queries: Iterable[str], workspace: Workspace) -> tuple[list[str], int]:
    """Queries that the student of the generation neither learned from nor chose its threshold by.

    Raises:
        DataError: there are none.
    """
    name = str(open_current(workspace.generations, verify=False).manifest["student"])
    known = set(model_named(workspace.relevance, name).manifest["seen"])
    asked = list(queries)
    unseen = [query for query in asked if query_digest(query) not in known]
    if not unseen:
        raise DataError(
            f"student {name} has seen all {len(asked)} queries of the gold.",
            "Report on labels of other queries.",
        )
    return unseen, len(asked) - len(unseen)


_Filtered = tuple[SurfaceConfig, RelevanceFilterConfig]


def _asked(workspace: Workspace, engine: Engine, name: str) -> tuple[_Filtered, RelevanceModel]:
    config = workspace.settings.all_surfaces().get(name)
    if config is None or config.relevance_filter is None or config.needs != "query":
        raise ConfigError(
            f"the surface {name!r} does not search and leave bad matches out.",
            f"Add [surfaces.{name}.relevance_filter] to serendip.toml.",
        )
    if engine.state.relevance_model is None:
        raise NotTrainedError(
            f"{engine.generation} has no judge of matches.", "Run `serendip train`."
        )
    return (config, config.relevance_filter), engine.state.relevance_model


def _shown(text: str, config: _Filtered, engine: Engine) -> Shown:
    (query,) = engine.queries([Request("search", text=text)])
    surface, state = config[0], engine.state
    plain = run([query], surface.model_copy(update={"relevance_filter": None}), state)[0]
    filtered = run([query], surface, state)[0]
    first = (found.items.item_nums[:SHOWN] for found in (plain, filtered))
    return Shown(text, *first)


def _by_people(shown: Sequence[Shown], labels: dict[Pair, bool], engine: Engine) -> dict[str, Any]:
    """Of all queries together, and per query with intervals."""
    removed, before, after = [], [], []
    for one in shown:
        gone = ~np.isin(one.plain, one.filtered)
        removed.append(float(gone.mean()) if len(gone) else 0.0)
        known = [_judged(one.query, part, labels, engine) for part in (one.plain, one.filtered)]
        if all(known):
            before.append(float(np.mean(known[0])))
            after.append(float(np.mean(known[1])))
    return {
        "queries": len(shown),
        "judged_queries": len(before),
        "replaced": _mean(removed),
        "bad_before": _mean(before),
        "bad_after": _mean(after),
        "difference": _mean(np.subtract(after, before).tolist(), (-1.0, 1.0)),
    }


def _judged(query: str, numbers: IntArray, labels: dict[Pair, bool], engine: Engine) -> list[bool]:
    """What people say of the shown items that they have judged."""
    pairs = [(query, item) for item in engine.item_ids(numbers)]
    return [labels[pair] for pair in pairs if pair in labels]


def _ordered(query: Query, numbers: IntArray, engine: Engine) -> OrderedCandidates:
    """Items of one logged request as the filter reads them: organic, none pinned."""
    no_value, is_pinned = np.zeros(len(numbers), np.float32), np.zeros(len(numbers), np.bool_)
    return OrderedCandidates(query, engine.state, numbers, no_value, ~is_pinned, is_pinned)


def _of_log(dataset: Dataset, config: _Filtered, engine: Engine) -> dict[str, Any]:
    """Which share of what was shown, and of what was chosen, the filter would have left out."""
    shown: list[bool] = []
    chosen: list[bool] = []
    requests = 0
    relevance_filter = RelevanceFilter(config[1])
    for request, query in _logged(dataset, engine):
        requests += 1
        for numbers, told in ((request.shown, shown), (request.chosen, chosen)):
            kept = relevance_filter.keep(_ordered(query, numbers, engine)).mask
            told.extend((~kept[: config[1].depth]).tolist())
    return {
        "requests": requests,
        "shown": len(shown),
        "chosen": len(chosen),
        "shown_left_out": float(np.mean(shown)) if shown else None,
        "chosen_left_out": float(np.mean(chosen)) if chosen else None,
    }


def _logged(dataset: Dataset, engine: Engine) -> Iterator[tuple[LoggedRequest, Query]]:
    """The newest requests with words, in the item numbers of the engine."""
    vocabulary = engine.state.catalogue.vocabulary
    ids = dataset.catalogue.vocabulary.ids_of(np.arange(dataset.num_items, dtype=np.int32))
    numbers = vocabulary.numbers(ids)
    worded = [one for one in dataset.requests if one.text.strip()][-_REQUESTS:]
    for request in worded:
        (query,) = engine.queries([Request("search", text=request.text)])
        yield request.renumbered(numbers), query


def _mean(values: Sequence[float], support: Support = UNIT_RANGE) -> dict[str, Any] | None:
    """Mean with its interval over queries; None of nothing."""
    if not values:
        return None
    found = estimate(np.array(values), support=support)
    return {"value": found.value, "ci95": [found.low, found.high]}
