"""Trains the ranker: chooses the context that it reads and what it orders, on rows of requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from serendip.data import QueryExamples
from serendip.data.query import TASKS
from serendip.data.splits import Split
from serendip.engine.config.settings import Settings
from serendip.engine.stages.surfaces import surface_of_task
from serendip.engine.state import EngineState
from serendip.evaluate.decision import Decision
from serendip.jobs.train.ranker.choices import (
    choose_baskets,
    choose_context,
    choose_search_order,
    columns_without,
    with_room,
)
from serendip.jobs.train.ranker.popularity_discount import learn_discounts
from serendip.jobs.train.ranker.requests import (
    BASKET_TASKS,
    LabelledRequests,
    build_basket_requests,
    build_requests,
    count_similar,
    mix_batches,
)
from serendip.jobs.train.ranker.rows import make_rows
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import TrainOptions

_BASKETS = 1
"""Number of the random draws for baskets among those of one seed."""


def train_ranker_on_requests(
    state: EngineState,
    split: Split,
    examples: QueryExamples,
    labelled: LabelledRequests,
    settings: Settings,
    options: TrainOptions,
) -> tuple[Ranker, Sequence[Decision]] | None:
    """Train the ranker on requests of the newer part of a split, and decide what it reads.

    None if no candidate was a positive. Its rows have all parts of the context that the data have;
    what it reads of them, and what it orders, is chosen on them (``choices``). The state was fitted
    on the older part, with the items of the newer part appended; items of the split and of the
    written queries are numbered as in it.
    """
    rng = np.random.default_rng(options.seed)
    surfaces = settings.all_surfaces()
    built = [
        (surface_of_task(surfaces, task), of_task)
        for task, of_task in build_requests(split, examples, state.repeats, settings.ranker, rng)
    ]
    # Draws of their own, and after all others: where nothing is learned of them, nothing changes.
    apart = np.random.default_rng([options.seed, _BASKETS])
    count = count_similar(split, settings.ranker.most_requests)
    of_baskets = build_basket_requests(split, state.repeats, settings, count, apart)
    batches = [*mix_batches([*built, *labelled]), *mix_batches(of_baskets)]
    made = make_rows(batches, state, settings, options, rng)
    if made is None:
        return None
    sample, compared = made
    of_context = choose_context(sample, state.context.present, settings, options)
    # From here on without what the ranker does not read.
    on = {found.name for found in of_context if found.on}
    unread = [part for part in state.context.present if f"context: {part}" not in on]
    kept = columns_without(sample.names, unread)  # (F,)
    names = [name for name, is_kept in zip(sample.names, kept, strict=True) if is_kept]
    sample = replace(sample, rows=sample.rows.with_columns(kept), names=names)
    compared = None if compared is None else compared.with_columns(kept)
    by_ranker = choose_search_order(sample.first(len(sample.requests)), compared, settings, options)
    baskets = choose_baskets(sample, settings, options)
    as_similar = [task for task in BASKET_TASKS if task not in baskets or not baskets[task].on]
    ordered = {number for number, task in enumerate(TASKS) if task not in as_similar}
    ordered -= set() if by_ranker.on else {TASKS.index("search")}
    rows = sample.rows.at(~sample.of_tasks(as_similar))
    ranker = Ranker(with_room(settings.ranker, ordered))
    ranker.train(rows, names, options, sorted(ordered))
    ranker.discounts = learn_discounts(ranker, rows, settings)
    return ranker, [*of_context, by_ranker, *baskets.values()]
