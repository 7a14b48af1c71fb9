"""A training that loses its lock on a server publishes nothing, unless it has already published."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from postgres_server import PostgresServer, move_to_server
from small_shop import WITHOUT_SEARCHES, import_shop

from serendip.engine.artefacts.generations import current_name
from serendip.engine.artefacts.training_record import FAILED, PUBLISHED, TrainingRecord
from serendip.errors import StorageError
from serendip.jobs.context import JobContext
from serendip.jobs.train.train import train_workspace
from serendip.runtime.progress import SilentProgress, TrainOptions, empty_note
from serendip.runtime.timing import StageClock, StageCost


class FailoverProgress(SilentProgress):
    """Ends the sessions of all locks when a stage begins."""

    def __init__(self, server: PostgresServer, stage: str) -> None:
        self._server, self._stage = server, stage

    def show(
        self, description: str, total: int | None = None, note: Callable[[], str] = empty_note
    ) -> AbstractContextManager[Callable[[], None]]:
        if description == self._stage:
            self._server.end_locks()
        return super().show(description, total, note)


@pytest.fixture
def on_server(postgres_server: PostgresServer, tmp_path: Path) -> Path:
    """A shop whose database is on a server; nothing is trained."""
    folder = import_shop(tmp_path / "shop", num_users=20, more=WITHOUT_SEARCHES)
    return move_to_server(folder, postgres_server.empty_url())


def test_a_lock_lost_while_a_training_runs_stops_it_before_it_publishes(
    on_server: Path, postgres_server: PostgresServer
) -> None:
    progress = FailoverProgress(postgres_server, "gates")
    clock = StageClock(progress=progress)
    context = JobContext.open(on_server, TrainOptions(progress=progress), clock)
    with pytest.raises(StorageError, match=r"the lock `training` .* was lost") as told:
        train_workspace(context)
    assert "run the command again" in told.value.hint
    assert current_name(on_server / "generations") == ""
    assert not list((on_server / "generations").glob("gen-*"))
    record = TrainingRecord.read(on_server / "training")
    assert record is not None
    assert (record.result, record.message) == (FAILED, str(told.value))


def test_a_lock_lost_after_the_publication_is_only_logged(
    on_server: Path, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_over(stage: StageCost) -> None:
        if stage.name == "publish":
            postgres_server.end_locks()

    generation = train_workspace(JobContext.open(on_server, clock=StageClock(on_end=fail_over)))
    assert generation.name == current_name(on_server / "generations") == "gen-1"
    assert "the lock `training` of database postgres was lost" in caplog.text
    record = TrainingRecord.read(on_server / "training")
    assert record is not None
    assert record.result == PUBLISHED
