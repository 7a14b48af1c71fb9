import errno
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from stand import train, write_worse_report

from serendip.engine.artefacts.generations import open_current
from serendip.engine.artefacts.training_record import TrainingRecord
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, GateError, StorageError
from serendip.evaluate.decision import DECISIONS
from serendip.jobs.context import JobContext
from serendip.jobs.status import WorkspaceStatus, read_status, running_training
from serendip.jobs.train.train import train_workspace
from serendip.runtime.atomic_files import exclusive_lock, write_json
from serendip.runtime.progress import JobStatus


def status_of(shop: Path) -> WorkspaceStatus:
    return read_status(Workspace.open(shop))


def test_before_the_first_training_nothing_is_in_force(fresh: Path) -> None:
    status = status_of(fresh)
    assert (status.in_force, status.training, status.last) == (None,) * 3
    assert status.age.is_stale
    assert json.loads(json.dumps(status.as_dict()))["stale"] is True


def test_the_published_one_is_told_with_its_data_gates_and_the_record(stand: Path) -> None:
    status, manifest = status_of(stand), open_current(stand / "generations").manifest
    assert status.in_force.name == "gen-1"
    assert status.in_force.counts == manifest["counts"]
    names = [one.name for one in status.in_force.decisions if one.must]
    assert names == [gate["name"] for gate in manifest[DECISIONS]["gates"]]
    assert status.in_force.quality == {}
    assert status.in_force.since >= status.in_force.created
    assert (status.last.result, status.last.generation) == ("published", "gen-1")


def test_the_report_of_the_same_settings_and_files_tells_the_quality(stand: Path) -> None:
    fingerprint = open_current(stand / "generations").manifest["fingerprint"]
    metrics = {"nDCG@10": {"value": 0.1}, "Recall@10": {"value": 0.2}}
    report = {
        "fingerprint": fingerprint,
        "surfaces": {"home": {"systems": {"engine": metrics}}},
    }
    path = stand / "reports" / "report.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report))
    assert status_of(stand).in_force.quality == {"nDCG@10": 0.1, "Recall@10": 0.2}
    path.write_text(json.dumps({**report, "fingerprint": "another"}))
    assert status_of(stand).in_force.quality == {}


def test_a_damaged_one_is_told_as_such(stand: Path) -> None:
    manifest = stand / "generations" / "gen-1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"seed"', '"sead"'))
    status = status_of(stand)
    assert status.in_force is None
    assert "not readable" in status.damage


def test_a_training_runs_while_its_lock_is_held(stand: Path) -> None:
    workspace = Workspace.open(stand)
    assert running_training(workspace) is None
    write_json(workspace.training / "status.json", asdict(JobStatus("train retriever")))
    assert running_training(workspace) is None  # it was killed
    with exclusive_lock(workspace.training):
        training = running_training(workspace)
        assert training.text == "train retriever"
        with pytest.raises(StorageError, match="another process is writing"):
            train(stand)
    assert status_of(stand).last.result == "published"  # a refused start is no failure
    train(stand)
    assert not (workspace.training / "status.json").exists()


def test_a_published_training_whose_record_cannot_be_written_has_not_failed(
    stand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, failed = os.fsync, []

    def fail_once(handle: int) -> None:
        if not failed and os.readlink(f"/proc/self/fd/{handle}").endswith("last.json.part"):
            failed.append(handle)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(StorageError, match=r"last\.json cannot be written: No space left"):
        train(stand)
    assert open_current(stand / "generations").name == "gen-2"
    assert status_of(stand).last.result == "published"
    train_workspace(JobContext.open(stand), rebuild=False)  # the command, again
    assert status_of(stand).last.generation == "gen-2"


def test_a_refusal_of_a_gate_and_another_failure_are_recorded(stand: Path) -> None:
    workspace = Workspace.open(stand)
    write_worse_report(stand)
    with pytest.raises(GateError, match="not worse than popularity"):
        train_workspace(JobContext.open(stand), reasons=["it is old"])
    record = TrainingRecord.read(workspace.training)
    assert (record.result, record.failures, list(record.reasons)) == ("refused", 1, ["it is old"])
    assert "not worse than popularity" in record.message
    assert open_current(workspace.generations).name == "gen-1"
    with workspace.open_store() as store:
        for item in store.items():
            store.delete_item(item.item_id)
    with pytest.raises(DataError, match="the catalogue is empty"):
        train(stand)
    record = TrainingRecord.read(workspace.training)
    assert (record.result, record.failures, record.message[:23]) == (
        "failed",
        2,
        "the catalogue is empty.",
    )
