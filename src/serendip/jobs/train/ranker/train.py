"""Trains the ranker: chooses the context that it reads and what it orders, on rows of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data import QueryExamples
from serendip.data.query import TASKS
from serendip.data.splits import Split
from serendip.engine.config.settings import Settings
from serendip.engine.feature_names import context_parts
from serendip.engine.stages.surfaces import surface_of_task
from serendip.engine.state import EngineState
from serendip.evaluate.decision import Decision
from serendip.jobs.train.ranker.basket_rows import (
    BASKET_TASKS,
    build_basket_requests,
    choose_baskets,
    without_tasks,
)
from serendip.jobs.train.ranker.context_choice import (
    SAMPLE,
    choose_parts,
    columns_without,
    undecided,
)
from serendip.jobs.train.ranker.labels import Batches, LabelledRequests
from serendip.jobs.train.ranker.orders import RankerSample, learn_discounts, with_room
from serendip.jobs.train.ranker.requests import (
    SEARCH,
    build_requests,
    count_similar,
    mix_batches,
)
from serendip.jobs.train.ranker.rows import RowMaking, SearchCandidates, can_compare
from serendip.jobs.train.ranker.search_order_choice import choose_search_order
from serendip.models.context_counts import ContextCounts
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import TrainOptions

_BASKETS = 1
"""Number of the random draws for baskets among those of one seed."""


@dataclass(frozen=True, slots=True, eq=False)
class RankerFit:
    """A ranker, the context whose features it has, and decisions about what it reads and orders."""

    ranker: Ranker
    context: ContextCounts
    decisions: Sequence[Decision]


def train_ranker_on_requests(
    state: EngineState,
    split: Split,
    examples: QueryExamples,
    labelled: LabelledRequests,
    settings: Settings,
    options: TrainOptions,
) -> RankerFit | None:
    """Train the ranker on requests of the newer part of a split; None if no candidate was a
    positive.

    Where the settings leave it to the training which parts of the context are read, they are chosen
    on the rows of the first requests, which are a sample of all (``context_choice``). The state was
    fitted on the older part, with the items of the newer part appended; items of the split and of
    the written queries are numbered as in it.
    """
    rng = np.random.default_rng(options.seed)
    most = settings.ranker.most_requests
    surfaces = settings.all_surfaces()
    built = [
        (surface_of_task(surfaces, task), of_task)
        for task, of_task in build_requests(split, examples, state.repeats, settings.ranker, rng)
    ]
    requests = [*built, *labelled]
    # Draws of their own, and after all others: where nothing is learned of them, nothing changes.
    apart, count = np.random.default_rng([options.seed, _BASKETS]), count_similar(split, most)
    of_baskets = build_basket_requests(split, state.repeats, settings, count, apart)
    total = sum(len(of_surface) for _, of_surface in (*requests, *of_baskets))
    # Searches of each source that the ranker and rank fusion can be compared on.
    deciding = Counter(
        request.source
        for surface, of_surface in requests
        for request in of_surface
        if can_compare(request, surfaces[surface])
    )
    making = RowMaking(settings, options, total, deciding, rng)
    state, of_context, batches = _choose_context(state, mix_batches(requests), making)
    making.add([*batches, *mix_batches(of_baskets)], state)
    fit = _train(making, state)
    return None if fit is None else replace(fit, decisions=[*of_context, *fit.decisions])


def _train(making: RowMaking, state: EngineState) -> RankerFit | None:
    settings, options, rows = making.settings, making.options, making.rows()
    if rows is None:
        return None
    sample = RankerSample(rows, state.feature_names, making.made)
    # Baskets were made last: what is left has the numbers that it has without them.
    others = [made for made in making.made if made.query.task not in BASKET_TASKS]
    rest = replace(sample, rows=without_tasks(sample.rows, BASKET_TASKS), requests=others)
    compared = SearchCandidates.joined(making.compared)
    by_ranker = choose_search_order(rest, compared, settings, options)
    baskets = choose_baskets(sample, settings, options)
    as_similar = [task for task in BASKET_TASKS if task not in baskets or not baskets[task].on]
    ordered = {number for number, task in enumerate(TASKS) if task not in as_similar} - {SEARCH}
    ordered |= {SEARCH} if by_ranker.on else set()
    rows = without_tasks(sample.rows, as_similar)
    ranker = Ranker(with_room(settings.ranker, ordered))
    ranker.train(rows, state.feature_names, options, sorted(ordered))
    ranker.discounts = learn_discounts(ranker, rows, settings)
    return RankerFit(ranker, state.context, [by_ranker, *baskets.values()])


def _choose_context(
    state: EngineState, batches: Batches, making: RowMaking
) -> tuple[EngineState, list[Decision], Batches]:
    """Choose the parts of the context that the ranker reads, on the rows of the first requests."""
    present, options = state.context.present, making.options
    named = making.settings.context.named
    parts = [part for part in present if part not in named]
    known = undecided([part for part in present if part in named], "the settings say so", on=True)
    if not parts:
        return state, known, batches
    plain = replace(state, context=state.context.only(named, state.num_items))
    count = _count_first(batches, SAMPLE)
    sampled = [request for _, labelled in batches[:count] for request in labelled]
    making.add(batches[:count], state)
    rows, names = making.rows(), state.feature_names
    if rows is None:
        return plain, [*known, *undecided(parts, "no request has a choice")], batches[count:]
    sample = RankerSample(rows, names, sampled)
    decisions = choose_parts(sample, parts, making.settings, options)
    unread = [part for part, found in zip(parts, decisions, strict=True) if not found.on]
    is_kept = columns_without(names, unread)  # (F,)
    making.keep_columns(is_kept)
    read = context_parts([name for name, is_read in zip(names, is_kept, strict=True) if is_read])
    context = state.context.with_parts(read, state.num_items)
    return replace(state, context=context), [*known, *decisions], batches[count:]


def _count_first(batches: Batches, requests: int) -> int:
    sizes = np.cumsum([len(labelled) for _, labelled in batches])
    return min(len(batches), int(np.searchsorted(sizes, requests)) + 1)
