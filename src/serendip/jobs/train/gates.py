"""Gates: checks that a new generation must pass before it is published.

Among them are canary requests: it must answer what the first visitors of a shop would ask.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from serendip.data.items.catalogue import open_catalogue
from serendip.data.rows.row_array import ROWS_PER_BLOCK
from serendip.data.text import normalise
from serendip.data.vocabulary import Vocabulary
from serendip.engine.engine import Engine
from serendip.engine.request import Answer, Request
from serendip.engine.stages.sources import WordSource
from serendip.engine.stages.surfaces import RETRIEVER
from serendip.engine.state import EngineState
from serendip.engine.state_parts import CONTENT
from serendip.errors import ArtefactError, GateError
from serendip.evaluate.decision import Decision
from serendip.jobs.surface_quality.record import (
    RECORD_FILE,
    QualityRecord,
    compare_records,
    describe_worst,
    read_record,
)
from serendip.jobs.train.fingerprint import read_report
from serendip.runtime.budget import Allowance, CutShort
from serendip.runtime.versions import Version

METRIC, BASELINE = "nDCG@10", "popularity"

LEAST_STEPS = 100
"""Optimiser steps without which a model that began with nothing has learned nothing, whatever share
of its plan they are. Adam moves a weight by about the learning rate a step, which first rises and
then falls, so that 100 steps of .003 move it by about .15: as far as weights of 64 inputs begin
from 0. Before, an order is mostly that of the random numbers that the network began with."""

FEW_ITEMS = 10
"""So many items may always go: of a small catalogue they are a large share."""


def require_passed(decisions: Iterable[Decision]) -> None:
    """Check that everything is on that must be.

    Raises:
        GateError: a gate failed; the message has its figures.
    """
    failed = [f"{gate.name} ({gate.reason})" for gate in failed_gates(decisions)]
    if failed:
        raise GateError(
            f"the new generation is not published; it fails the gates: {'; '.join(failed)}.",
            "Run `serendip doctor` and `serendip evaluate`, and correct the data or settings; "
            "`serendip train --force` publishes in spite of the gates.",
        )


def failed_gates(decisions: Iterable[Decision]) -> list[Decision]:
    """Those that must be on and are not."""
    return [decision for decision in decisions if decision.must and not decision.on]


def check_integrity(state: EngineState) -> Decision:
    """Check that all numbers are finite."""
    content, size = state.features.content, ROWS_PER_BLOCK
    blocks = (content[begin : begin + size] for begin in range(0, len(content), size))
    return Decision.gate(
        "finite numbers",
        all(bool(np.isfinite(part).all()) for part in chain(blocks, [state.quality])),
        "content vectors and quality",
    )


def check_kept_items(
    items: Vocabulary, deleted: Collection[str], current: Version | None, least: float
) -> list[Decision]:
    """Check that no import lost more than a share of the items of the generation in force.

    Items that somebody deleted one by one may always go; ``least`` is the smallest share that must
    be there, 0 = none must. Returns one result, or none if none must be there or no generation is
    in force.
    """
    if current is None or not least:
        return []
    try:
        before = open_catalogue(current.folder / CONTENT).vocabulary
    except (ArtefactError, KeyError, OSError):  # it is damaged, and should not stay
        return []
    total, gone = len(before), np.flatnonzero(items.numbers(before) < 0).tolist()
    lost = sum(before.id(row) not in deleted for row in gone)
    passed = lost <= FEW_ITEMS or 1 - lost / total >= least
    detail = f"{total - len(gone):,} of its {total:,} items are still there"
    if len(gone) > lost:
        detail += f", {len(gone) - lost:,} were deleted one by one"
    if not passed:
        detail += (
            f", at least {100 * least:g} % must be: check that the items file is whole and run "
            "`serendip import`; if so many went on purpose, run `serendip train --force` once, or "
            "lower [gate] least_kept_items"
        )
    return [Decision.gate(f"has the items of {current.name}", passed, detail)]


def check_budget(budget: Allowance, models: Collection[str]) -> list[Decision]:
    """Check that the time of a training was enough for every model to learn something.

    A model that proposes and scores by its first, random numbers makes answers worse than those of
    popularity and content alone; they would be in force until the next training. One that was cut
    short needs ``LEAST_STEPS``; a shorter plan must be complete. What else the time cut short are
    choices, which have defaults. Returns one result, or none without a budget.
    """
    if math.isinf(budget.seconds):
        return []
    unlearned = [
        cut
        for cut in budget.cuts
        if cut.name.partition(" ")[0] in models and not cut.continues and cut.steps < LEAST_STEPS
    ]
    given = f"a budget of {budget.seconds:g} s"
    if unlearned:
        detail = (
            f"{given} ended trainings before {LEAST_STEPS} steps, or all of a shorter plan: "
            f"{_describe_cuts(unlearned)}; give more by --budget or [train] budget, or leave it out"
        )
    elif budget.cuts:
        detail = f"{given} cut short: {_describe_cuts(budget.cuts)}"
    else:
        detail = f"{given} was enough"
    return [Decision.gate("every model has learned", not unlearned, detail)]


def _describe_cuts(cuts: Sequence[CutShort]) -> str:
    return ", ".join(
        f"{cut.name} at {100 * cut.done:.1f} %" + (f", step {cut.steps:,}" if cut.steps else "")
        for cut in cuts
    )


def check_report(report: Path, fingerprint: str) -> list[Decision]:
    """Check that home is not worse than popularity, by a report of this fingerprint, if any."""
    document = read_report(report, fingerprint)
    if document is None:
        return []
    for row in document["surfaces"]["home"]["comparisons"]:
        if (row["metric"], row["baseline"]) == (METRIC, BASELINE):
            detail = f"{METRIC} {row['difference']:+.4f} against {BASELINE}: {row['verdict']}"
            passed = row["verdict"] != "worse"
            return [Decision.gate("not worse than popularity", passed, detail)]
    return []


def check_regression(
    record: QualityRecord | None,
    current: Version | None,
    margin: float,
    file: str = RECORD_FILE,
    setting: str = "margin",
) -> list[Decision]:
    """Check that no surface and no slice of it is worse than that of the generation in force.

    ``margin`` is the largest tolerated loss, as a share of the value of the generation in force,
    and ``setting`` its name in ``[gate]``. The record is None if the data are too few for one.
    Returns one result, or none without a generation in force or a record of either.
    """
    before = None if current is None else read_record(current.folder / file)
    if record is None or current is None or before is None:
        return []
    changes = compare_records(record, before, margin)
    passed, detail = all(change.on for change in changes), describe_worst(changes)
    if not passed:
        detail += f"; if that is meant, raise [gate] {setting}"
    asked = "surface or slice" if file == RECORD_FILE else "measure of lists"
    name = f"no {asked} more than {100 * margin:g} % worse than {current.name}"
    return [Decision.gate(name, passed, detail)]


ASKED = 5
"""Number of items that a surface is asked about. Most of them must have an answer, not all: a title
of signs alone, or an item that is like no other one, proves nothing about a generation."""

_POPULAR = 50
"""First items of a new visitor's home that the asked ones are chosen from."""

_BY_WORDS = WordSource().trace_key

_LONGEST = 200
"""Longer titles are no texts that people type."""


def check_answers(engine: Engine) -> list[Decision]:
    """Check that home, search and similar items answer, and that no stage fails in them.

    A surface that is configured for other requests is not asked, nor one that the items do not
    allow to ask.
    """
    surfaces, state = engine.settings.all_surfaces(), engine.state
    search, similar = surfaces["search"], surfaces["similar"]
    home = engine.recommend(Request("home", k=_POPULAR, reasons=False))
    shown = [item.item_id for item in home.items]
    detail = f"{len(shown)} items for home{_describe_failed([home])}"
    passed = len(shown) > 0 and not home.degraded
    results = [Decision.gate("answers a new visitor", passed, detail)]
    if search.needs == "query" and WordSource.name in search.sources:
        said = "titles of popular items find something"
        results += _check(engine, "search finds titles", said, _ask_titles(engine, shown))
    content = state.features.content[state.catalogue.vocabulary.numbers(shown)]
    differ = bool(shown) and not (content == content[0]).all()
    if similar.needs == "items" and RETRIEVER in similar.sources and differ:
        pages = [Request("similar", item_ids=(one,), reasons=False) for one in shown[:ASKED]]
        results += _check(engine, "shows similar items", "popular items have similar ones", pages)
    return results


def _ask_titles(engine: Engine, shown: Sequence[str]) -> list[Request]:
    items = [item for item in map(engine.item, shown) if item is not None]
    titles = dict.fromkeys(item.title for item in items)
    texts = [title for title in titles if normalise(title) and len(title) <= _LONGEST][:ASKED]
    return [Request("search", text=text, reasons=False) for text in texts]


def _check(engine: Engine, name: str, said: str, requests: Sequence[Request]) -> list[Decision]:
    """Whether most requests find something, a text by its words, and no stage fails in any.

    What is found by meaning proves nothing: in a small catalogue that is every item.
    """
    if not requests:
        return []
    answers = [engine.recommend(request) for request in requests]
    found = sum(
        bool(answer.items)
        and (
            not request.text
            or engine.explain(request, answer.items[0].item_id).trace.get(_BY_WORDS, 0) > 0
        )
        for request, answer in zip(requests, answers, strict=True)
    )
    failed = _describe_failed(answers)
    passed = 2 * found > len(answers) and not failed
    return [Decision.gate(name, passed, f"{found} of {len(answers)} {said}{failed}")]


def _describe_failed(answers: Sequence[Answer]) -> str:
    failed = sorted({name for answer in answers for name in answer.degraded})
    return f"; failed: {', '.join(failed)}" if failed else ""
