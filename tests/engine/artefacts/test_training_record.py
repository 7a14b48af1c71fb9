from pathlib import Path

import pytest

from serendip.engine.artefacts.training_record import FAILED, PUBLISHED, REFUSED, TrainingRecord

WEEK = 7 * 86_400.0


def test_what_is_written_is_read_with_the_failures_in_a_row(tmp_path: Path) -> None:
    assert TrainingRecord.read(tmp_path) is None
    assert TrainingRecord(REFUSED, message="worse").write(tmp_path).failures == 1
    written = TrainingRecord(FAILED, message="no disk", reasons=["old"]).write(tmp_path)
    assert TrainingRecord.read(tmp_path) == written
    assert written.failures == 2
    assert TrainingRecord(PUBLISHED, "gen-2").write(tmp_path).failures == 0


@pytest.mark.parametrize("text", ["", "[]", '{"result": "published", "more": 1}'])
def test_an_unreadable_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "last.json").write_text(text)
    assert TrainingRecord.read(tmp_path) is None


@pytest.mark.parametrize(("failures", "wait"), [(1, 60), (2, 120), (5, 960), (40, WEEK)])
def test_each_failure_doubles_the_wait_up_to_a_week(failures: int, wait: float) -> None:
    record = TrainingRecord(REFUSED, failures=failures, ended=100.0)
    assert record.next_try(60.0) == 100.0 + wait


def test_after_a_success_nothing_waits() -> None:
    assert TrainingRecord(PUBLISHED, "gen-1", ended=1e12).next_try(60.0) == 0.0
