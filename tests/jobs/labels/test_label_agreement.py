"""Agreement of labels of the same pairs, and files that people have filled in."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import invoke
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.errors import ConfigError
from serendip.jobs.labels.agreement import Agreement, compare_files, measure_agreement
from serendip.jobs.labels.pair_files import read_labels


def test_agreement_beyond_chance() -> None:
    pairs = [(f"q{number // 4}", f"i{number}") for number in range(40)]
    labels = {pair: number % 2 == 0 for number, pair in enumerate(pairs)}
    others = {
        pair: label != (number % 4 == 3) for number, (pair, label) in enumerate(labels.items())
    }
    both = measure_agreement(labels, {**others, ("more", "i"): True})
    assert (both.pairs, both.queries, both.agreed, both.kappa) == (40, 10, 0.75, 0.5)
    assert both.ci95 is not None
    low, high = both.ci95
    assert low < 0.5 <= high
    swapped = measure_agreement(others, labels)
    assert (swapped.kappa, swapped.agreed) == (0.5, 0.75)
    assert measure_agreement(labels, {}) == Agreement(0, 0, 0.0, None, None)
    relevant = dict.fromkeys(pairs, False)
    assert measure_agreement(relevant, relevant) == Agreement(40, 10, 1.0, None, None)


def test_the_command_compares_each_two_files(tmp_path: Path) -> None:
    files = []
    for name, labels in (("a", "good bad good"), ("b", "good bad bad"), ("c", "good good good")):
        lines = "".join(f"q,i{place},{label}\n" for place, label in enumerate(labels.split()))
        files.append(tmp_path / f"{name}.csv")
        files[-1].write_text("query,item_id,label\n" + lines)
    options = [part for path in files for part in ("--labels", str(path))]
    rows = invoke("judge", "agreement", *options)[1]["agreements"]
    couples = [[Path(path).stem for path in row["labels"]] for row in rows]
    assert couples == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert [row["kappa"] for row in rows] == [pytest.approx(0.4), 0.0, 0.0]
    output = CliRunner().invoke(app, ["judge", "agreement", *options]).stdout
    assert "kappa 0.400" in output
    assert "3 pairs of 1 queries in common" in output
    with pytest.raises(ConfigError, match="two files"):
        compare_files(files[:1])


def test_a_pair_without_a_label_is_not_labelled(tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    path.write_text("query,item_id,title,label\nq,a,An a,good\nq,b,A b,\nq,c,A c,bad\n")
    assert read_labels(path) == {("q", "a"): False, ("q", "c"): True}
