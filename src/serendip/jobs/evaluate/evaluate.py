"""``serendip evaluate``: evaluates splits in parallel, pools their users and writes the report.

For each split, everything is fitted on the training part, and every system ranks all items for each
target of the test part. The systems are the engine's home surface as it would be served, and each
of its recommenders alone. A split is evaluated in a separate process, so tasks and answers are
plain values and arrays.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from serendip import __version__
from serendip.content.features import build_features
from serendip.content.semantic_ids.kmeans import measure_code_quality
from serendip.data.arrays import BoolArray, IntArray
from serendip.data.dataset import Dataset, cooccurring_pairs
from serendip.data.item_list import ItemList
from serendip.data.query import Query
from serendip.data.splits import Split, leave_last_out, temporal
from serendip.data.vocabulary import Vocabulary
from serendip.engine.settings import Settings
from serendip.engine.stages.pipeline import run
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.evaluate.protocol import ProtocolRuns
from serendip.evaluate.report.document import build_report
from serendip.evaluate.report.page import render_page
from serendip.evaluate.runs import Judged, Run
from serendip.jobs.context import JobContext
from serendip.jobs.doctor import check_workspace
from serendip.jobs.train.fingerprint import compute_fingerprint
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.gates import REPORT_JSON
from serendip.jobs.train.ranker_actions import require_actions
from serendip.runtime.atomic_files import write_json, write_text
from serendip.runtime.executor import Executor, LocalExecutor
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock, StageCost

ENGINE = "engine"
K = 10
BATCH = 64


@dataclass(frozen=True, slots=True)
class SplitTask:
    """A split to evaluate.

    Args:
        workspace: folder of the workspace.
        fraction: share of the events, by time, before the cut; None = leave last one out.
        until: share of the events before the end of the targets.
        seed: root of all randomness.
    """

    workspace: str
    fraction: float | None
    until: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class SplitAnswers:
    """Ranked lists of every system for the targets of one split, in the split's item numbers.

    Args:
        name: of the split.
        lists: system -> (T, 10) int32 item numbers, padded with -1.
        targets: (T,) int32 item numbers.
        users: (T,) external user ids.
        flags: slice -> (T,) bool.
        counts: (N,) int32 interactions of each item before the cut.
        item_ids: (N,) external ids.
        facts: cut, sizes and costs of the stages.
    """

    name: str
    lists: Mapping[str, IntArray]
    targets: IntArray
    users: Sequence[str]
    flags: Mapping[str, BoolArray]
    counts: IntArray
    item_ids: Sequence[str]
    facts: Mapping[str, Any]


def evaluate_split(task: SplitTask) -> SplitAnswers:
    """Fit on the training part of a split and rank the targets of its test part."""
    clock = StageClock()
    context = JobContext.open(Path(task.workspace), TrainOptions(seed=task.seed))
    split, settings = _make_split(task, context.dataset), context.settings
    with tempfile.TemporaryDirectory() as scratch:
        fitter = Fitter.of(context, Path(scratch))
        with clock.stage(f"fit {split.name}"):
            past = fitter.fit(split.train, "past", context.options)
            state = fitter.append_new_items(past, split)
            seconds = sum_train_seconds(fitter.clock)
            del fitter, context  # ranking needs neither the encoders' weights nor the cache
        with clock.stage(f"answer {split.name}"):
            lists = rank_targets(split.targets.queries(), state, settings)
    counts = np.zeros(state.num_items, np.int32)
    counts[: len(past.counts)] = past.counts
    facts = {
        "fraction": task.fraction,
        "cut": split.cut,
        "train_events": len(split.train.events),
        "targets": len(split.targets),
        "users": len(set(split.targets.users)),
        "train_items": split.train.num_items,
        "new_items": len(split.new_items),
        "stages": clock.as_dicts(),
        "seconds": seconds,
    }
    return SplitAnswers(
        split.name,
        lists,
        split.targets.items,
        list(split.targets.users),
        split.flags(),
        counts,
        list(split.catalogue.vocabulary.ids),
        facts,
    )


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


def rank_targets(
    queries: Sequence[Query], state: EngineState, settings: Settings
) -> dict[str, IntArray]:
    """Rank all items for each query: system -> top 10 (T, 10), the engine's home surface first."""
    # Without the relevance filter: its model may have been trained on later labels.
    home = settings.all_surfaces()["home"].model_copy(update={"relevance_filter": None})
    rows: dict[str, list[IntArray]] = {name: [] for name in (ENGINE, *state.models)}
    for begin in range(0, len(queries), BATCH):
        part = queries[begin : begin + BATCH]
        rows[ENGINE].append(_pad([result.items for result in run(part, home, state)]))
        for name, model in state.models.items():
            rows[name].append(_pad(model.recommend(part, K)))
    return {name: np.concatenate(lists) for name, lists in rows.items()}


def _pad(lists: Sequence[ItemList]) -> IntArray:
    """The first ``K`` item numbers of each list, padded with -1."""
    table = np.full((len(lists), K), -1, dtype=np.int32)
    for row, items in enumerate(lists):
        best = items.item_nums[:K]
        table[row, : len(best)] = best
    return table


def _make_split(task: SplitTask, dataset: Dataset) -> Split:
    """The split that a task evaluates."""
    if task.fraction is None:
        return leave_last_out(dataset)
    return temporal(dataset, task.fraction, task.until)


REPORT_HTML = "report.html"
MIN_EVENTS = 100
"""With fewer interactions a split leaves too little for training or testing."""

BASELINES = ("popularity", "popularity-recent", "item-knn", "transitions")

TEMPORAL = (
    "Everything (vocabulary, popularity, codes, word index, models, ranker) was fitted on the "
    "events before a cut in time and tested on the events after it. The history of a target is "
    "every event of its user strictly before it; at most 100 targets per user; mean per user; "
    "users pooled over the cuts. All items are ranked, except those that the user chose before."
)
LAST_OUT = (
    "The last event of each user is the target; everything was fitted without the last two. Later "
    "events of other users are in the training part, so this protocol leaks the future. It serves "
    "only for comparison with papers."
)


def evaluate_workspace(context: JobContext, executor: Executor | None = None) -> dict[str, Any]:
    """Evaluate the engine and its baselines and write ``reports/report.{json,html}``.

    Args:
        context: workspace, seed and progress; the stages of the splits are added to its clock.
        executor: runs the splits; two local processes by default.

    Returns:
        the report as written.

    Raises:
        ConfigError: a target action of the ranker does not occur in its training data.
        DataError: there are too few interactions.
    """
    workspace, options, clock = context.workspace, context.options, context.clock
    dataset = judged_dataset(context)
    require_actions(dataset, workspace.settings.ranker.actions)
    executor = executor or LocalExecutor()
    with clock.stage("content vectors and codes"):
        task = EncodeTask(os.fspath(workspace.folder), options)
        codes = next(iter(executor.map(encode_items_once, [task])))
    tasks = _tasks(workspace, options.seed)
    with clock.stage("judge all splits"):
        answers = executor.map(evaluate_split, tasks)
        judged = list(options.progress.track(answers, "splits judged", len(tasks)))
    for split in judged:
        for stage in split.facts["stages"]:
            clock.stages.append(StageCost(**stage))
            clock.on_end(clock.stages[-1])
    with clock.stage("report"):
        report = build_report(
            _build_protocols(judged, dataset.catalogue.vocabulary),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            code_version=__version__,
            data={"counts": _counts(dataset), "checks": check_workspace(workspace)},
            semantic_ids=codes,
            stages=clock.as_dicts(),
            seed=options.seed,
        )
        report["fingerprint"] = compute_fingerprint(workspace, options.seed)
        write_json(workspace.reports / REPORT_JSON, report)
        write_text(workspace.reports / REPORT_HTML, render_page(report))
    return report


def judged_dataset(context: JobContext) -> Dataset:
    """The dataset of a report, with enough interactions.

    Raises:
        DataError: there are fewer than ``MIN_EVENTS``.
    """
    dataset = context.dataset
    if len(dataset.events) < MIN_EVENTS:
        raise DataError(
            f"{len(dataset.events)} interactions are too few for a report.",
            f"Collect at least {MIN_EVENTS}, or run `serendip train`, which needs no report.",
        )
    return dataset


@dataclass(frozen=True, slots=True)
class EncodeTask:
    """A workspace whose items are to be encoded.

    Args:
        folder: of the workspace.
        options: seed, progress and device.
    """

    folder: str
    options: TrainOptions


def encode_items_once(task: EncodeTask) -> dict[str, Any]:
    """Fill the vector cache before the splits are evaluated; return the quality of the codes."""
    context = JobContext.open(Path(task.folder), task.options)
    dataset, settings = context.dataset, context.settings
    features, _, _ = build_features(
        dataset.catalogue,
        context.encoder,
        context.vectors,
        settings.content,
        settings.semantic_ids,
        task.options,
        context.media,
        settings.content.fusion,
        cooccurring_pairs(dataset.events),
    )
    return asdict(measure_code_quality(features.codes, features.codebook_size))


def _tasks(workspace: Workspace, seed: int) -> list[SplitTask]:
    config = workspace.settings.evaluation
    cuts = sorted(config.cuts)
    folder = os.fspath(workspace.folder)
    tasks = [
        SplitTask(folder, cut, until, seed)
        for cut, until in zip(cuts, [*cuts[1:], 1.0], strict=True)
    ]
    # The longest first, so that parallel processes end at about the same time.
    tasks.reverse()
    return [*tasks, SplitTask(folder, None, 1.0, seed)] if config.leave_last_out else tasks


def _counts(dataset: Dataset) -> dict[str, int]:
    return {
        "items": dataset.num_items,
        "users": dataset.num_users,
        "interactions": len(dataset.events),
        "likes": int(dataset.events.liked.sum()),
    }


def _build_protocols(judged: Sequence[SplitAnswers], vocabulary: Vocabulary) -> list[ProtocolRuns]:
    """The temporal protocol, then leave-last-out if it was evaluated."""
    temporal = [split for split in judged if split.facts["fraction"] is not None]
    temporal.sort(key=lambda split: split.facts["fraction"])
    last_out = [split for split in judged if split.facts["fraction"] is None]
    protocols = [_pool_splits("temporal", "Temporal split", TEMPORAL, temporal, vocabulary)]
    if last_out:
        label = "Leave last one out (literature comparison: leaks the future)"
        protocols.append(_pool_splits("leave_last_out", label, LAST_OUT, last_out, vocabulary))
    return protocols


def _pool_splits(
    key: str,
    label: str,
    description: str,
    splits: Sequence[SplitAnswers],
    vocabulary: Vocabulary,
) -> ProtocolRuns:
    """Pool splits in the item numbers of the whole catalogue; those of each split differ."""
    maps = [vocabulary.numbers(split.item_ids) for split in splits]
    targets = np.concatenate(
        [numbers[split.targets] for numbers, split in zip(maps, splits, strict=True)]
    )
    judged = Judged(
        targets=targets,
        users=np.concatenate([np.asarray(split.users) for split in splits]),
        cuts=np.repeat(np.arange(len(splits)), [len(split.targets) for split in splits]),
        flags={
            name: np.concatenate([split.flags[name] for split in splits])
            for name in splits[0].flags
        },
    )
    runs = [
        Run.of_lists(
            name,
            np.concatenate(
                [_renumber(s.lists[name], m) for m, s in zip(maps, splits, strict=True)]
            ),
            targets,
        )
        for name in splits[0].lists
    ]
    popularity = np.zeros((len(splits), len(vocabulary)), np.int32)
    for row, (numbers, split) in enumerate(zip(maps, splits, strict=True)):
        popularity[row, numbers] = split.counts
    return ProtocolRuns(
        key=key,
        label=label,
        description=description,
        judged=judged,
        runs=runs,
        popularity=popularity,
        catalogue_size=len(vocabulary),
        subject=ENGINE,
        baselines=[name for name in BASELINES if name in splits[0].lists],
        cuts=[{k: v for k, v in split.facts.items() if k != "stages"} for split in splits],
        seconds=splits[-1].facts["seconds"],
    )


def _renumber(lists: IntArray, numbers: IntArray) -> IntArray:
    """Map item numbers by ``numbers``; padding stays -1."""
    return np.where(lists >= 0, numbers[lists], -1).astype(np.int32)
