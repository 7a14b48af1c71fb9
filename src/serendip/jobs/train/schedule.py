"""Trainings on a schedule: checks whether the generation is stale, and trains beside the service.

Each training is a process of its own at the lowest priority. It publishes through the gates, and
the service takes the new generation over by itself. The process ends with the one that started it,
at any moment, and a training that was killed has published nothing.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serendip.engine.artefacts.generations import open_newest
from serendip.engine.artefacts.training_record import (
    FAILED,
    PUBLISHED,
    REFUSED,
    TRAINING_STATUS_FILE,
    TrainingRecord,
)
from serendip.engine.workspace import Workspace
from serendip.errors import ExtraMissing, SerendipError, StorageError
from serendip.jobs.train.staleness import measure_age
from serendip.runtime import job_status
from serendip.runtime.atomic_files import is_locked
from serendip.runtime.background import BackgroundProcess
from serendip.runtime.budget import parse_duration
from serendip.runtime.extras import require_training
from serendip.runtime.job_status import JobStatus

_log = logging.getLogger(__name__)

_WITHOUT_SETTINGS_S = 60.0
"""Seconds until the next check if the settings cannot be read."""


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """A training that is due.

    Args:
        folder: of the workspace.
        reasons: why.
    """

    folder: str
    reasons: Sequence[str]


class TrainingSchedule:
    """Checks at the interval of ``[train] schedule`` and trains when the generation is stale.

    Args:
        folder: of the workspace. Its settings are read again before each check.
        stopped: set once ``run`` is to return; a running training is ended by ``stop`` only.
    """

    def __init__(self, folder: Path, stopped: threading.Event | None = None) -> None:
        self._folder = folder
        self._stopped = stopped or threading.Event()
        self._lock = threading.Lock()
        self._process: BackgroundProcess[TrainingTask] | None = None
        self._has_told = False

    def run(self) -> None:
        """Check and train until ``stop``, or until the settings have no schedule any more."""
        try:
            every_s: float | None = 0.0
            while every_s is not None and not self._stopped.wait(every_s):
                every_s = self._check()
        finally:
            self.stop()

    def stop(self) -> None:
        """End a running training, within ten seconds, and ``run``."""
        self._stopped.set()
        with self._lock:
            process = self._process
        if process is not None:
            process.stop()

    def _check(self) -> float | None:
        """Train if it is due; seconds until the next check, None = there is none."""
        every_s = _WITHOUT_SETTINGS_S
        try:
            workspace = Workspace.open(self._folder)
            schedule = workspace.settings.train.schedule
            if schedule is None:
                return None
            every_s = parse_duration(schedule)
            if not self._can_train():
                return every_s
            age = measure_age(workspace)
            if age.is_due(time.time()) and not is_locked(workspace.training):
                self._train(workspace, age.reasons)
        except SerendipError as error:
            _log.error("whether a training is due cannot be told: %s", error)
        except Exception:  # noqa: BLE001 - whatever it was, the next check may succeed
            _log.exception("whether a training is due cannot be told")
        return every_s

    def _can_train(self) -> bool:
        """Whether the packages of trainings are installed; that they are not is said once."""
        try:
            require_training()
        except ExtraMissing as error:
            if not self._has_told:
                self._has_told = True
                _log.error(
                    "[train] schedule trains nothing here: %s Or train this workspace elsewhere, "
                    "by `serendip train --if-stale` from a timer: the service takes that over.",
                    error,
                )
            return False
        return True

    def _train(self, workspace: Workspace, reasons: Sequence[str]) -> None:
        """Train in a process of its own, wait for its end, and say how it ended."""
        began = time.time()
        process = BackgroundProcess(_train_alone, TrainingTask(os.fspath(self._folder), reasons))
        with self._lock:
            self._process = process
        if self._stopped.is_set():
            return
        _log.info("training, because %s", "; ".join(reasons))
        code = process.run()
        if process.is_stopped:
            return
        record = TrainingRecord.read(workspace.training)
        if record is None or record.ended < began:
            if code == StorageError.exit_code:
                _log.info("another training runs already")
                return
            record = _record_killed(workspace.training, code, reasons)
        _log_end(record)


def _record_killed(folder: Path, code: int, reasons: Sequence[str]) -> TrainingRecord:
    """Record the end of a training that could not do so itself."""
    cause = "; it was killed, perhaps for its memory" if code < 0 else ""
    message = f"its process ended with exit code {code}{cause}."
    JobStatus(job_status.FAILED, text=message).write(folder / TRAINING_STATUS_FILE)
    return TrainingRecord(FAILED, message=message, reasons=reasons).write(folder)


def _log_end(record: TrainingRecord) -> None:
    """Say how a training ended; one that published nothing is an error."""
    if record.result == PUBLISHED:
        _log.info("%s is published", record.generation)
        return
    what = "a gate refused the trained generation" if record.result == REFUSED else "it failed"
    _log.error("the training published nothing, the generation in force stays: %s: %s", what,
               record.message)  # fmt: skip


def _train_alone(task: TrainingTask) -> None:
    """Train in this process, with the seed of the newest generation."""
    from serendip.jobs.context import JobContext
    from serendip.jobs.train.train import train_workspace
    from serendip.runtime.executor_config import EngineChoice
    from serendip.runtime.progress import TrainOptions

    try:
        folder = Path(task.folder)
        newest = open_newest(Workspace.open(folder).generations)
        seed = 0 if newest is None else int(newest.manifest["seed"])
        context = JobContext.open(folder, TrainOptions(seed=seed), engine=EngineChoice())
        train_workspace(context, warm=True, reasons=task.reasons, rebuild=False)
    except SerendipError as error:
        sys.exit(error.exit_code)  # the record names the reason
