from __future__ import annotations

from pathlib import Path

from serendip_bench.costs import TrainingCost


def burn(rounds: int = 300_000) -> int:
    return sum(number * number for number in range(rounds))


def test_costs_before_a_kill_are_added_where_training_goes_on(tmp_path: Path) -> None:
    first = TrainingCost(tmp_path, resumes=False)
    for _ in first.track(range(3), "epochs", 3):
        burn()
    noted = TrainingCost(tmp_path, resumes=True).seconds()
    assert 0 < noted[0] <= first.seconds()[0] + 0.1
    resumed = TrainingCost(tmp_path, resumes=True)
    burn()
    assert resumed.seconds()[0] > noted[0]


def test_costs_of_a_training_that_starts_afresh_are_its_own(tmp_path: Path) -> None:
    first = TrainingCost(tmp_path, resumes=False)
    for _ in first.track(range(5), "epochs", 5):
        burn()
    assert TrainingCost(tmp_path, resumes=False).seconds()[0] < first.seconds()[0]
