"""``serendip judge report``: the cost of the relevance filter of each surface, by the log.

Of every surface it says whether the filter is on, from which threshold on, and why. Where it is on:
the share of the shown and of the chosen items of logged requests that the filter would have left
out, and the choices that a thousand requests would lose so. That is the most that it can cost:
users chose these items from lists without the filter, and something else takes their places. What
the filter gains was measured on labels (``distil.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from serendip.data import Dataset, IntArray, Query
from serendip.data.events.search_log import LoggedRequest
from serendip.engine.artefacts.generations import open_current
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.base import OrderedCandidates
from serendip.engine.stages.relevance_filter import RelevanceFilter
from serendip.engine.stages.surfaces import SurfaceConfig, find_surface, visible_to
from serendip.evaluate.intervals import estimate
from serendip.jobs.context import JobContext
from serendip.jobs.relevance.decisions import MODELS_KEY, FilterDecision, read_decisions
from serendip.runtime.atomic_files import write_json

FILE = "relevance.json"
_MAX_REQUESTS = 2_000
"""Most logged requests of a surface in the report, the newest ones."""

_UNKNOWN = FilterDecision.off("it was configured after the training (`serendip train`)")


def report_relevance(context: JobContext, surfaces: Sequence[str] = ()) -> dict[str, Any]:
    """Measure the filters of the published generation; write ``reports/relevance.json``.

    Args:
        context: workspace with a published generation.
        surfaces: names; empty = all.

    Raises:
        NotTrainedError: nothing is published.
        UnsupportedError: a surface is not configured.
    """
    workspace = context.workspace
    configured = workspace.settings.all_surfaces()
    manifest = open_current(workspace.generations, verify=False).manifest
    decisions, found = read_decisions(manifest), dict[str, Any]()
    with Engine.open(workspace.folder) as engine:
        for name in surfaces or configured:
            surface, decision = find_surface(configured, name), decisions.get(name, _UNKNOWN)
            is_on = decision.on and RelevanceFilter(surface.relevance_filter).is_on(engine.state)
            is_logged = is_on and surface.needs != "items"
            log = _replay_log(context.dataset, name, surface, engine) if is_logged else None
            found[name] = {**asdict(decision), "log": log}
        models = manifest.get(MODELS_KEY, {})
        report = {"generation": engine.generation, "models": models, "surfaces": found}
    write_json(workspace.reports / FILE, report)
    return report


def _replay_log(
    dataset: Dataset, name: str, surface: SurfaceConfig, engine: Engine
) -> dict[str, Any]:
    """Share of the shown and of the chosen items that the filter would have left out."""
    rule = RelevanceFilter(surface.relevance_filter)
    removed: dict[str, list[bool]] = {"shown": [], "chosen": []}
    lost: list[float] = []
    for request, query in _logged_requests(dataset, name, surface, engine):
        for kind, numbers in (("shown", request.shown), ("chosen", request.chosen)):
            keeps = rule.keep(_to_candidates(query, numbers, engine)).mask
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
        "choices_lost_per_1000": _describe_cost(lost),
    }


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


def _describe_cost(lost: Sequence[float]) -> dict[str, Any] | None:
    """Choices that a thousand requests lose, with the interval over requests; None for none."""
    if not lost:
        return None
    mean = estimate(np.array(lost), support=(0.0, max([1.0, *lost])))
    value, low, high = (1_000.0 * (end or 0.0) for end in (mean.value, mean.low, mean.high))
    return {"value": value, "ci95": [low, high]}
