"""What people see of a generation before it is published: compared with the one in force."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from serendip.data.dataset import Dataset
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.evaluate.decision import Decision
from serendip.evaluate.lists import Measured
from serendip.jobs.lists.item_facts import ItemFacts, choose
from serendip.jobs.lists.measures import REJECTED, K, ListMeasures, find_rejected
from serendip.jobs.lists.queries import write_queries
from serendip.jobs.surface_quality.record import LISTS, QualityRecord, RecordedSurface
from serendip.jobs.surface_quality.sample import hash_key, take_turns

LISTS_FILE = "lists.npz"
_NAMED = 3

_SEED = 0
"""Two trainings ask the same, whatever their seeds are."""


def measure_generation(engine: Engine, dataset: Dataset, limit: int) -> list[Measured]:
    """Measures of the report, on fewer requests, that tell whether lists became worse."""
    facts = ItemFacts(engine)
    measures, found = ListMeasures(engine, facts), list[Measured]()
    reasons = list[list[Request]]()
    if engine.needs("similar") == "items":
        pages = facts.choose_items(limit, _SEED)
        found += measures.measure_similar(pages, [""] * len(pages))
        reasons.append([Request("similar", item_ids=(page,), k=K) for page in pages])
    if engine.needs("search") == "query":
        written = take_turns(list(write_queries(facts, limit, _SEED).values()))
        queries = list(islice(written, limit))
        texts = [query.text for query in queries]
        found.append(measures.measure_truth("all kinds", queries))
        found.append(measures.measure_gibberish(list(dataset.catalogue.titles), limit, _SEED))
        reasons.append([Request("search", text=text, k=K) for text in texts])
    users = choose(dataset.users.ids, limit, _SEED)
    reasons.append([Request("home", user, k=K) for user in users])
    found += [
        measures.measure_rejected(users, find_rejected(dataset)),
        measures.measure_new(users),
        *measures.measure_suggested(users)[0],
        measures.measure_reasons("all lists", list(islice(take_turns(reasons), limit))),
    ]
    return [one for one in found if len(one.values)]


LIST_REQUESTS = 60
"""Lists that each measure looks at; fewer than 50 would not be compared."""


def record_lists(measured: Sequence[Measured]) -> QualityRecord:
    """What is compared of the measures: of each that of which more is better."""
    sizes = [len(one.values) for one in measured]
    values, names = np.full((sum(sizes), len(measured)), np.nan), list[str]()  # (T, S)
    for column, one in enumerate(measured):
        begin = sum(sizes[:column])
        is_good = one.goal == "more"
        good = one.values if is_good else 1.0 - one.values
        values[begin : begin + sizes[column], column] = good
        names.append(f"{'' if is_good else '1 - share of: '}{one.group}, {one.name}")
    keys = np.array([hash_key(one.name, key) for one in measured for key in one.requests], "u8")
    return (
        {LISTS: RecordedSurface(keys, keys, np.array(names, np.str_), values)} if measured else {}
    )


def check_rejected(measured: Sequence[Measured]) -> list[Decision]:
    """Check that no list of home has a rejected item as new."""
    results = []
    for one in measured:
        if one.name == REJECTED:
            detail = f"{int((one.values > 0).sum())} of {len(one.values)} lists of home have one"
            if one.examples:
                detail += (
                    f", such as {', '.join(one.examples[:_NAMED])}: explore less by "
                    "[surfaces.home.exploration] share"
                )
            results.append(Decision.gate(f"no {REJECTED}", not one.examples, detail))
    return results
