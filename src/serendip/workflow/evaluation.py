"""``serendip evaluate``: judge splits in parallel, pool their users, write the report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from serendip import __version__
from serendip.content.cache import VectorCache
from serendip.content.config import open_media
from serendip.content.encoders.text import open_encoder
from serendip.content.features import build_features
from serendip.content.semantic_ids.kmeans import quality
from serendip.data.arrays import IntArray
from serendip.data.dataset import Dataset, cooccurring_pairs
from serendip.data.snapshot import take_snapshot
from serendip.data.vocabulary import Vocabulary
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.evaluate.protocol import ProtocolRuns
from serendip.evaluate.report.document import build_report, write_json
from serendip.evaluate.report.page import write_page
from serendip.evaluate.runs import Judged, Run
from serendip.scale.executor import Executor, LocalExecutor
from serendip.scale.options import TrainOptions
from serendip.scale.stages import Stage, StageClock
from serendip.workflow.doctor import check_workspace
from serendip.workflow.judging import ENGINE, JudgedSplit, JudgeTask, judge
from serendip.workflow.ranker_actions import require_actions
from serendip.workflow.training import REPORT_JSON, fingerprint

REPORT_HTML = "report.html"
MIN_EVENTS = 100
"""With fewer interactions no split leaves anything to learn from or to ask about."""

BASELINES = ("popularity", "popularity-recent", "item-knn", "transitions")

TEMPORAL = (
    "Everything (vocabulary, popularity, codes, word index, models, ranker) was fitted on the "
    "events before a cut in time, then asked about the events after it. The history of a target is "
    "every event of its user strictly before it; at most 100 targets per user; mean per user; "
    "users pooled over the cuts. All items are ranked; those already chosen are left out."
)
LAST_OUT = (
    "The last event of each user is the target, everything was fitted without the last two. Other "
    "users' later events are in the training part, so this leaks the future: it is given only to "
    "compare with papers."
)


def evaluate_workspace(
    workspace: Workspace,
    options: TrainOptions,
    clock: StageClock,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Judge the engine and its baselines and write ``reports/report.{json,html}``.

    Args:
        workspace: whose data and settings are judged.
        options: seed and progress.
        clock: collects what each stage cost; stages of the splits are added to it.
        executor: where the splits run; two local processes by default.

    Returns:
        the report as written.

    Raises:
        ConfigError: the ranker is to predict an action that does not occur.
        DataError: there are too few interactions to judge anything.
    """
    dataset = judged_dataset(workspace)
    require_actions(dataset, workspace.settings.ranker.actions)
    executor = executor or LocalExecutor()
    with clock.stage("content vectors and codes"):
        task = EncodeTask(os.fspath(workspace.folder), options)
        codes = next(iter(executor.map(encode_once, [task])))
    tasks = _tasks(workspace, options.seed)
    with clock.stage("judge all splits"):
        found = executor.map(judge, tasks)
        judged = list(options.progress.track(found, "splits judged", len(tasks)))
    for split in judged:
        for stage in split.facts["stages"]:
            clock.stages.append(Stage(**stage))
            clock.on_end(clock.stages[-1])
    with clock.stage("report"):
        report = build_report(
            _protocols(judged, dataset.catalogue.vocabulary),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            code_version=__version__,
            data={"counts": _counts(dataset), "checks": check_workspace(workspace)},
            semantic_ids=codes,
            stages=clock.as_dicts(),
            seed=options.seed,
        )
        report["fingerprint"] = fingerprint(workspace, options.seed)
        workspace.reports.mkdir(parents=True, exist_ok=True)
        _write_whole(write_json, report, workspace.reports / REPORT_JSON)
        _write_whole(write_page, report, workspace.reports / REPORT_HTML)
    return report


def judged_dataset(workspace: Workspace) -> Dataset:
    """What a report is about.

    Raises:
        DataError: there are too few interactions to judge anything.
    """
    with closing(workspace.open_store()) as store:
        dataset = take_snapshot(store, workspace.settings.actions)
    if len(dataset.events) < MIN_EVENTS:
        raise DataError(
            f"{len(dataset.events)} interactions are too few for a report.",
            f"Collect at least {MIN_EVENTS}; `serendip train` works without a report.",
        )
    return dataset


@dataclass(frozen=True, slots=True)
class EncodeTask:
    """A workspace whose items are to be encoded, and how that executes."""

    folder: str
    options: TrainOptions


def encode_once(task: EncodeTask) -> dict[str, Any]:
    """Fill the vector cache for everything that follows; tell how well the codes are used."""
    workspace = Workspace.open(Path(task.folder))
    settings = workspace.settings
    with closing(workspace.open_store()) as store:
        dataset = take_snapshot(store, settings.actions)
    device = task.options.device
    features, _, _ = build_features(
        dataset.catalogue,
        open_encoder(settings.content, device),
        VectorCache(workspace.cache),
        settings.content,
        settings.semantic_ids,
        task.options,
        open_media(settings.content, workspace.folder, workspace.cache, device),
        settings.content.fusion,
        cooccurring_pairs(dataset.events),
    )
    return asdict(quality(features.codes, features.codebook_size))


def _tasks(workspace: Workspace, seed: int) -> list[JudgeTask]:
    config = workspace.settings.evaluation
    cuts = sorted(config.cuts)
    folder = os.fspath(workspace.folder)
    tasks = [
        JudgeTask(folder, cut, until, seed)
        for cut, until in zip(cuts, [*cuts[1:], 1.0], strict=True)
    ]
    # The largest first, so that two processes end at about the same time.
    tasks.reverse()
    return [*tasks, JudgeTask(folder, None, 1.0, seed)] if config.leave_last_out else tasks


def _counts(dataset: Dataset) -> dict[str, int]:
    return {
        "items": dataset.num_items,
        "users": dataset.num_users,
        "interactions": len(dataset.events),
        "likes": int(dataset.events.liked.sum()),
    }


def _protocols(judged: Sequence[JudgedSplit], vocabulary: Vocabulary) -> list[ProtocolRuns]:
    temporal = [split for split in judged if split.facts["fraction"] is not None]
    temporal.sort(key=lambda split: split.facts["fraction"])
    last_out = [split for split in judged if split.facts["fraction"] is None]
    protocols = [_protocol("temporal", "Temporal split", TEMPORAL, temporal, vocabulary)]
    if last_out:
        label = "Leave last one out (literature comparison: leaks the future)"
        protocols.append(_protocol("leave_last_out", label, LAST_OUT, last_out, vocabulary))
    return protocols


def _protocol(
    key: str,
    label: str,
    description: str,
    splits: Sequence[JudgedSplit],
    vocabulary: Vocabulary,
) -> ProtocolRuns:
    """Pool splits, whose item numbers differ, in the numbers of the whole catalogue."""
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
                [_renumbered(s.lists[name], m) for m, s in zip(maps, splits, strict=True)]
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


def _renumbered(lists: IntArray, numbers: IntArray) -> IntArray:
    """Lists in other item numbers; padding stays -1."""
    return np.where(lists >= 0, numbers[lists], -1).astype(np.int32)


def _write_whole(write: Any, report: dict[str, Any], path: Path) -> None:
    """The file appears complete or not at all."""
    part = path.with_name(path.name + ".part")
    write(report, part)
    part.replace(path)
