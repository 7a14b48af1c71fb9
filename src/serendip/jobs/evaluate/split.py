"""Evaluation of one split in time.

Everything is fitted on the training part and asked about the test part, as it would be served; each
of the recommenders answers alone, too. Home is asked at every target.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.semantic_ids.kmeans import measure_code_quality
from serendip.data import Dataset, Query
from serendip.data.splits import Split, next_choices
from serendip.engine.live.state import ItemUpdater
from serendip.engine.state import EngineState
from serendip.evaluate.decision import Decision
from serendip.evaluate.lists import FaithfulnessFigures
from serendip.evaluate.new_items import measure_new_items
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.faithfulness import (
    PastItems,
    SourceValue,
    TypedWords,
    measure_faithfulness,
)
from serendip.jobs.surface_quality.answers import ENGINE, HOME, ask, measure_surfaces
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fit import Fitter
from serendip.runtime.atomic_files import scratch_folder
from serendip.runtime.progress import StageClock

MAX_REQUESTS = 300
"""Largest number of requests of a surface other than home."""


def measure_split(
    context: JobContext, dataset: Dataset, whole: Split, max_targets: int | None
) -> dict[str, Any]:
    """Fit on the training part of a split, and measure what that answers to the test part.

    The split has the targets of all users, who are sampled if there are more than ``max_targets``;
    None = all users.
    """
    clock, seed = context.clock, context.options.seed
    split = sample_users(whole, max_targets, seed)
    # What the fit costs is of the report alone: one stage of the job.
    own = replace(context, clock=StageClock(progress=clock.progress))
    with scratch_folder(context.workspace.reports) as scratch:
        with clock.stage("fit"):
            state, decisions = fit_past(own, dataset, split, scratch)
        countries = dataset.countries_by_user()
        choices = next_choices(dataset, whole, state.repeats)
        asked_users = np.isin(choices.users, split.targets.users)
        choices = choices.rows(np.flatnonzero(asked_users))
        builder = SurfaceRequestBuilder.of(split, choices, own, state, MAX_REQUESTS)
        with clock.stage("answer"):
            home = ask(builder.build_next_items(HOME), builder, state, countries)
            new_items = measure_new_items(dataset, split, choices, home.lists, seed)
        with clock.stage("reasons"):
            faithfulness = measure_reasons(builder, own, state, seed)
        with clock.stage("surfaces"):
            surfaces = measure_surfaces(builder, state, countries, home)
    codes = state.features.codes, state.features.codebook_size
    return {
        "seconds": sum_train_seconds(own.clock),
        "split": {
            "cut": split.cut,
            "train_events": len(split.train.events),
            "targets": len(split.targets),
            "users": len(set(split.targets.users)),
            "all_targets": len(whole.targets),
            "all_users": len(set(whole.targets.users)),
            "train_items": split.train.num_items,
            "new_items": len(split.new_items),
        },
        "semantic_ids": asdict(measure_code_quality(*codes)),
        "surfaces": surfaces,
        "new_items": new_items,
        "reasons": faithfulness,
        "decisions": decisions,
    }


def fit_past(
    context: JobContext, dataset: Dataset, split: Split, scratch: Path
) -> tuple[EngineState, Sequence[Decision]]:
    """An engine of the training part that knows the items of the test part, and its decisions."""
    fitter = Fitter(context, scratch)
    past, decisions = fit_engine(fitter, split.train, "past", context.options)
    fitted = fitter.append_new_items(past, split)
    return with_early_rejections(fitted, dataset, split), decisions


def with_early_rejections(state: EngineState, dataset: Dataset, split: Split) -> EngineState:
    """The state with what was rejected before the cut: such items are appended, and not new."""
    negatives, ids = dataset.negatives, dataset.catalogue.vocabulary
    if not len(negatives):
        return state
    negatives = negatives.before(split.cut)
    stands = negatives.items[np.isinf(negatives.until)]
    items = split.catalogue.vocabulary.numbers(ids.ids_of(stands))
    later = items[items >= split.train.num_items]
    none = np.zeros(len(later), np.bool_)
    return replace(state, reception=state.reception.with_events(later, none, ~none))


def measure_reasons(
    builder: SurfaceRequestBuilder, context: JobContext, state: EngineState, seed: int
) -> dict[str, FaithfulnessFigures]:
    """Whether the reasons of the feed, of searches and of similar items are true, by surface."""
    settings = context.settings
    surfaces = settings.all_surfaces()
    evidence = (
        PastItems(),
        TypedWords(builder.with_vectors),
        SourceValue(ItemUpdater(context.encoder, settings.content, settings.token_reader)),
    )
    moments: dict[str, Sequence[Query]] = {
        HOME: builder.split.targets.queries(repeats=state.repeats)
    }
    moments |= {name: builder.build(name).queries for name in ("search", "similar")}
    return {
        name: measure_faithfulness(queries, surfaces[name], state, seed, evidence=evidence)
        for name, queries in moments.items()
    }


def sample_users(split: Split, max_targets: int | None, seed: int) -> Split:
    """Keep random users, each with all targets, until they have ``max_targets``; one at least.

    A split with fewer targets, or without a maximum, is returned as it is.
    """
    targets = split.targets
    if max_targets is None or len(targets) <= max_targets:
        return split
    users, numbers, counts = np.unique(
        np.asarray(targets.users), return_inverse=True, return_counts=True
    )
    order = np.random.default_rng(seed).permutation(len(users))
    num_users = max(int(np.searchsorted(np.cumsum(counts[order]), max_targets, "right")), 1)
    rows = np.flatnonzero(np.isin(numbers, order[:num_users]))
    return replace(split, targets=targets.rows(rows))


def sum_train_seconds(clock: StageClock) -> dict[str, float]:
    """System -> CPU seconds of its trainings; for the engine, of all of them together.

    A model is trained twice: on the older part of the data, which it may continue from, and on all.
    """
    prefix = "train "
    seconds: dict[str, float] = defaultdict(float)
    for stage in clock.stages:
        if stage.name.startswith(prefix):
            seconds[stage.name.removeprefix(prefix)] += stage.cpu_s
    seconds[ENGINE] = sum(seconds.values())
    seconds.pop("ranker", None)
    return {name: round(value, 3) for name, value in seconds.items()}
