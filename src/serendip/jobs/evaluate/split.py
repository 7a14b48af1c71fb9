"""Evaluation of one split, in a separate process: tasks and answers are plain values and arrays.

Everything is fitted on the training part, and every system ranks all items for each target of the
test part. The systems are the engine's home surface as it would be served, and each of its
recommenders alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.semantic_ids.kmeans import measure_code_quality
from serendip.data import Dataset, IntArray, Query
from serendip.data.dataset_folder import open_dataset
from serendip.data.splits import Split, Targets, next_choices, temporal
from serendip.engine.live.state import ItemUpdater
from serendip.engine.state import EngineState
from serendip.engine.workspace import WorkspaceLocation
from serendip.evaluate.decision import Decision
from serendip.evaluate.faithfulness import FaithfulnessFigures
from serendip.evaluate.new_items import NewItemFigures, measure_new_items
from serendip.evaluate.surface_quality import Slice, SurfaceFigures, SurfaceRuns
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.faithfulness import (
    PastItems,
    SourceValue,
    TypedWords,
    measure_faithfulness,
)
from serendip.jobs.surface_quality.answers import ENGINE, HOME, measure_surfaces, rank
from serendip.jobs.surface_quality.kinds import find_slices
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fit import Fitter
from serendip.runtime.progress import TrainOptions
from serendip.runtime.scratch import scratch_folder
from serendip.runtime.timing import StageClock

BASELINES = ("popularity", "popularity-recent", "item-knn", "transitions")

TEMPORAL = (
    "Everything (vocabulary, popularity, codes, word index, models, ranker) was fitted on the "
    "events before a cut in time and tested on the events after it. The history of a target is "
    "every event of its user strictly before it; at most 100 targets per user; mean per user; "
    "users pooled over the cuts. All items are ranked, except those that the user chose before."
)

MAX_REQUESTS = 300
"""Largest number of requests of a surface other than home."""


@dataclass(frozen=True, slots=True)
class SplitTask:
    """A split to evaluate.

    Args:
        workspace: whose settings are evaluated.
        dataset: folder of its data at the moment of the command (``save_dataset``), which are the
            same for all splits, whatever is written meanwhile.
        fraction: share of the events, by time, before the cut.
        until: share of the events before the end of the targets.
        seed: root of all randomness.
        max_targets: users are sampled if there are more targets; None = all users.
        surfaces: whether all surfaces are measured, or home alone.
    """

    workspace: WorkspaceLocation
    dataset: str
    fraction: float
    until: float
    seed: int
    max_targets: int | None = None
    surfaces: bool = False

    @property
    def name(self) -> str:
        """Name of the split, as in the report."""
        return f"temporal@{self.fraction:g}"


@dataclass(frozen=True, slots=True, eq=False)
class SplitAnswers:
    """What is known of one split.

    Args:
        name: of the split.
        runs: ranked lists of every system for its targets, in the item numbers of the dataset.
        codes: quality of the semantic IDs.
        facts: cut, sizes and costs of the stages.
        surfaces: figures of every surface; empty = not measured.
        new_items: coverage and velocity of items that appeared after the cut; None = not measured.
        faithfulness: surface -> of its reasons; empty = not measured.
        decisions: what the training chose to use.
    """

    name: str
    runs: SurfaceRuns
    codes: Mapping[str, Any]
    facts: Mapping[str, Any]
    surfaces: Sequence[SurfaceFigures] = ()
    new_items: NewItemFigures | None = None
    faithfulness: Mapping[str, FaithfulnessFigures] = field(default_factory=dict)
    decisions: Sequence[Decision] = ()


def evaluate_split(task: SplitTask) -> SplitAnswers:
    """Fit on the training part of a split and rank the targets of its test part."""
    clock = StageClock()
    context = JobContext.of(task.workspace.open(), TrainOptions(seed=task.seed))
    dataset = open_dataset(Path(task.dataset))
    whole = temporal(dataset, task.fraction, task.until)
    split, settings = sample_users(whole, task.max_targets, task.seed), context.settings
    with scratch_folder() as scratch:
        fitter = Fitter(context, scratch)
        with clock.stage(f"fit {split.name}"):
            past = fit_engine(fitter, split.train, "past", context.options)
            fitted = fitter.append_new_items(past.state, split)
            state = with_early_rejections(fitted, dataset, split)
            seconds = sum_train_seconds(fitter.clock)
        with clock.stage(f"answer {split.name}"):
            home = settings.all_surfaces()[HOME]
            _, lists = rank(split.targets.queries(), home, state)
        surfaces, new_items, faithfulness = [], None, {}
        if task.surfaces:
            new_items = measure_new_items(dataset, split, lists, task.seed)
            choices = find_choices(dataset, whole, split, state, task)
            builder = SurfaceRequestBuilder.of(split, choices, context, state, MAX_REQUESTS)
            with clock.stage(f"reasons {split.name}"):
                faithfulness = measure_reasons(builder, context, state, task.seed)
            with clock.stage(f"surfaces {split.name}"):
                queries, rows = builder.build_next_items(HOME).queries, dict(lists)
                if state.repeats.is_on:  # what is served differs from lists of first choices
                    rows = rank(queries, home, state)[1]
                countries = dataset.countries_by_user()
                surfaces = measure_surfaces(builder, state, countries, rows)
    targets = split.targets
    facts = {
        "fraction": task.fraction,
        "cut": split.cut,
        "train_events": len(split.train.events),
        "targets": len(targets),
        "users": len(set(targets.users)),
        "all_targets": len(whole.targets),
        "all_users": len(set(whole.targets.users)),
        "train_items": split.train.num_items,
        "new_items": len(split.new_items),
        "stages": clock.as_dicts(),
        "seconds": seconds,
    }
    return SplitAnswers(
        split.name,
        _collect_runs(dataset, whole, split, lists),
        asdict(measure_code_quality(state.features.codes, state.features.codebook_size)),
        facts,
        surfaces,
        new_items,
        faithfulness,
        past.decisions,
    )


def _collect_runs(
    dataset: Dataset, whole: Split, split: Split, lists: Mapping[str, IntArray]
) -> SurfaceRuns:
    """Lists for the targets of a split, in the item numbers of the dataset."""
    targets, numbers = (
        split.targets,
        dataset.catalogue.vocabulary.numbers(split.catalogue.vocabulary.ids),
    )
    items = [item.reshape(1) for item in targets.items]
    countries = dataset.countries_by_user()
    slices = find_slices(split, targets.queries(), items, countries)
    counts = np.zeros(dataset.num_items, np.int32)
    counts[numbers[: split.train.num_items]] = split.train.item_counts()
    return SurfaceRuns(
        surface="Temporal split",
        question=TEMPORAL,
        relevant=[numbers[item] for item in items],
        users=np.asarray(targets.users, np.str_),
        slices={
            name: Slice(part.rows, [numbers[items] for items in part.relevant])
            for name, part in slices.items()
        },
        lists={name: np.where(rows >= 0, numbers[rows], -1) for name, rows in lists.items()},
        counts=counts,
        is_new=counts == 0,
        histories=(),
        baselines=[name for name in BASELINES if name in lists],
        possible=len(whole.targets),
    )


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


def find_choices(
    dataset: Dataset, whole: Split, split: Split, state: EngineState, task: SplitTask
) -> Targets:
    """The targets of a split and, where items come again, those that did, for a sample of users.

    Args:
        dataset: that was split.
        whole: the split with the targets of all users.
        split: the split with those of the users that are judged.
        state: fitted on the training part.
        task: limits the targets.
    """
    choices = next_choices(dataset, whole, state.repeats)
    if choices is whole.targets:
        return split.targets
    return sample_users(replace(whole, targets=choices), task.max_targets, task.seed).targets


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
