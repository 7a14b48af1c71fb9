"""``serendip status``: what is in force, what came since, whether it is stale, trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from serendip.engine.artefacts.generations import (
    current_name,
    in_force_since,
    open_current,
)
from serendip.engine.artefacts.training_record import TRAINING_STATUS_FILE, TrainingRecord
from serendip.engine.workspace import REPORT_JSON, Workspace
from serendip.errors import NotTrainedError, SerendipError
from serendip.evaluate.decision import DECISIONS, Decision, read_table
from serendip.jobs.train.fingerprint import read_report
from serendip.jobs.train.staleness import GenerationAge, measure_age
from serendip.runtime.atomic_files import is_locked
from serendip.runtime.progress import JobStatus
from serendip.runtime.sync import SharedFolder
from serendip.runtime.versions import Version

QUALITY_METRICS = ("nDCG@10", "Recall@10")


@dataclass(frozen=True, slots=True)
class InForce:
    """The published generation.

    Args:
        warm_start: generation that its training continued from; empty = none.
        quality: metric -> value of home in the report, if that is of these settings and files.
    """

    name: str
    since: float
    created: float
    counts: Mapping[str, int]
    warm_start: str
    quality: Mapping[str, float]
    decisions: Sequence[Decision]


@dataclass(frozen=True, slots=True)
class StorageStatus:
    """The storage of a workspace as this machine sees it.

    Args:
        problem: why it cannot be read; empty = it can.
        in_force: folder of the generation in force there; empty = none, or not known.
        stored: folders of complete generations there, the oldest first.
    """

    url: str
    problem: str
    in_force: str
    in_force_here: str
    stored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkspaceStatus:
    """The state of a workspace.

    Args:
        in_force: the published generation; None = there is none, or it is unreadable.
        damage: why it is unreadable; empty = it is not.
        training: the running training; None = none runs.
        storage: that machines share; None = this machine alone has everything.
    """

    in_force: InForce | None
    damage: str
    age: GenerationAge
    training: JobStatus | None
    last: TrainingRecord | None
    storage: StorageStatus | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "stale": self.age.is_stale}


def read_status(workspace: Workspace) -> WorkspaceStatus:
    """Read the state of a workspace with a database; changes nothing.

    Raises:
        StorageError: there is no database.
    """
    current, damage = None, ""
    try:
        current = open_current(workspace.generations, verify=False)
    except NotTrainedError:
        pass
    except SerendipError as error:
        damage = error.message
    return WorkspaceStatus(
        None if current is None else _describe(workspace, current),
        damage,
        measure_age(workspace),
        running_training(workspace),
        TrainingRecord.read(workspace.training),
        _read_storage(workspace),
    )


def _read_storage(workspace: Workspace) -> StorageStatus | None:
    """What the storage has; None = this machine alone has everything."""
    place, here = workspace.generations, _name_here(workspace)
    if not isinstance(place, SharedFolder):
        return None
    url = place.storage.url
    try:
        in_force = place.in_force()
        stored = tuple(place.manifests()) if in_force else ()
    except SerendipError as error:
        return StorageStatus(url, str(error), "", here)
    return StorageStatus(url, "", in_force, here, stored)


def _name_here(workspace: Workspace) -> str:
    try:
        return current_name(workspace.generation_folder)
    except SerendipError:
        return ""


def running_training(workspace: Workspace) -> JobStatus | None:
    """How far the running training is; None if none runs."""
    if not is_locked(workspace.training):
        return None
    return JobStatus.read(workspace.training / TRAINING_STATUS_FILE)


def _describe(workspace: Workspace, current: Version) -> InForce:
    manifest = current.manifest
    return InForce(
        name=current.name,
        since=in_force_since(workspace.generations),
        created=datetime.fromisoformat(manifest["created"]).timestamp(),
        counts=manifest["counts"],
        warm_start=manifest.get("warm_start", {}).get("generation", ""),
        quality=_read_quality(workspace, manifest["fingerprint"]),
        decisions=list(read_table(manifest.get(DECISIONS, {}))),
    )


def _read_quality(workspace: Workspace, fingerprint: str) -> dict[str, float]:
    """Metrics of the engine in the report; empty if the report is of other settings or files."""
    try:
        report = read_report(workspace.reports / REPORT_JSON, fingerprint)
        metrics = (report or {})["surfaces"]["home"]["systems"]["engine"]
        return {name: float(metrics[name]["value"]) for name in QUALITY_METRICS}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
