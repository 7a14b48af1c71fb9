"""What people see of a generation before it is published: compared with the one in force."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from serendip.data.dataset import Dataset
from serendip.engine.engine import Engine
from serendip.evaluate.decision import Decision
from serendip.evaluate.lists import Measured
from serendip.jobs.lists.item_facts import ItemFacts, choose
from serendip.jobs.lists.measures import REJECTED, ListMeasures, find_rejected
from serendip.jobs.lists.queries import CAPITALS, take_turns, write_queries
from serendip.jobs.surface_quality.record import LISTS, QualityRecord, RecordedSurface
from serendip.jobs.surface_quality.sample import hash_key

LISTS_FILE = "lists.npz"
"""File in a generation."""

_NAMED = 3
"""Items that a refusal names."""

_SEED = 0
"""Two trainings ask the same, whatever their seeds are."""


def measure_generation(engine: Engine, dataset: Dataset, limit: int) -> list[Measured]:
    """Measures that tell whether lists became worse; those of the report, on fewer requests.

    Args:
        engine: that answers from the generation.
        dataset: of its training.
        limit: requests of each measure.
    """
    facts = ItemFacts(engine)
    measures, found = ListMeasures(engine, facts), list[Measured]()
    if engine.needs("similar") == "items":
        pages = facts.choose_items(limit, _SEED)
        similar = measures.measure_similar(pages, [""] * len(pages))
        found += [one for one in similar if one.goal == "more"]
    if engine.needs("search") == "query":
        written = take_turns(list(write_queries(facts, limit, _SEED).values()))
        queries = list(islice(written, limit))
        found.append(measures.measure_truth("all kinds", queries))
        found += measures.measure_changes([query.text for query in queries], [CAPITALS])
        found.append(measures.measure_gibberish(list(dataset.catalogue.titles), limit, _SEED))
    users = choose(dataset.users.ids, limit, _SEED)
    found.append(measures.measure_rejected(users, find_rejected(dataset)))
    return [one for one in found if len(one.values)]


def record_lists(measured: Sequence[Measured]) -> QualityRecord:
    """What is compared of the measures: those of which more is better."""
    compared = [one for one in measured if one.goal == "more"]
    sizes = [len(one.values) for one in compared]
    values = np.full((sum(sizes), len(compared)), np.nan)  # (T, S)
    for column, one in enumerate(compared):
        begin = sum(sizes[:column])
        values[begin : begin + sizes[column], column] = one.values
    keys = np.array([hash_key(one.name, key) for one in compared for key in one.requests], "u8")
    names = np.array([f"{one.group}, {one.name}" for one in compared], np.str_)
    return QualityRecord({LISTS: RecordedSurface(keys, keys, names, values)} if compared else {})


def check_rejected(measured: Sequence[Measured]) -> list[Decision]:
    """Check that no list of home has a rejected item as new."""
    results = []
    for one in measured:
        if one.name == REJECTED:
            detail = f"{int((one.values > 0).sum())} of {len(one.values)} lists of home have one"
            if one.examples:
                detail += (
                    f", such as {', '.join(one.examples[:_NAMED])}: explore less by "
                    "[surfaces.home.exploration] share, or measure no lists by [gate] "
                    "list_requests = 0"
                )
            results.append(Decision.gate(f"no {REJECTED}", not one.examples, detail))
    return results
