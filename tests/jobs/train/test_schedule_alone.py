"""A schedule where the packages of trainings are missing, as in the image that serves."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from serendip.engine.artefacts.training_record import TrainingRecord
from serendip.engine.workspace import Workspace
from serendip.jobs.train.schedule import TrainingSchedule
from serendip.runtime import extras


class ThreeChecks(threading.Event):
    """Is set after three waits, none of which takes any time."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = list[float | None]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return len(self.waits) > 3


def test_a_schedule_without_the_packages_says_so_once_and_trains_nothing(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = fresh / "serendip.toml"
    settings.write_text(f'{settings.read_text()}\n[train]\nschedule = "10m"\n')
    monkeypatch.setattr(extras, "TRAINING_PACKAGES", ("json", "package_that_is_missing"))
    checks = ThreeChecks()
    with caplog.at_level(logging.INFO, "serendip"):
        TrainingSchedule(fresh, checks).run()
    assert checks.waits == [0.0, 600.0, 600.0, 600.0]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "[train] schedule" in line and "package_that_is_missing" in line
    assert "serendip[train]" in line and "serendip train --if-stale" in line
    assert TrainingRecord.read(Workspace.open(fresh).training) is None
