"""The desk: what is asked next, what is put off and taken back, how far others agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import invoke
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data.labelling import AgreementSoFar
from serendip.errors import ConfigError, DataError
from serendip.jobs.labels.agreement import Agreement, compare_label_files, measure_agreement
from serendip.jobs.labels.by_hand import LabellingSession
from serendip.jobs.labels.label_file import LabelFile

PAIRS = [(f"q{number // 2}", f"i{number}") for number in range(6)]
TEXTS = [{"query": query, "item": {"title": f"Title of {item}"}} for query, item in PAIRS]


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[LabelFile]:
    with LabelFile(tmp_path / "ann.csv", "ANN") as opened:
        yield opened


@pytest.fixture
def desk(labels: LabelFile) -> LabellingSession:
    return LabellingSession(PAIRS, TEXTS, labels)


def asked(desk: LabellingSession) -> int | None:
    shown = desk.view().asked
    return None if shown is None else shown.place


def test_pairs_are_asked_in_order_until_all_have_labels(
    desk: LabellingSession, labels: LabelFile
) -> None:
    for place in range(6):
        view = desk.view()
        assert view.asked is not None
        assert (view.asked.place, view.good + view.bad) == (place, place)
        assert (view.asked.query, view.asked.title) == (f"q{place // 2}", f"Title of i{place}")
        desk.label(place, ("good", "bad")[place % 2])
    view = desk.view()
    assert (view.asked, view.good, view.bad, view.pairs) == (None, 3, 3, 6)
    assert [pair for pair, _ in labels.rows] == PAIRS


def test_what_was_put_off_comes_last_and_in_turn(desk: LabellingSession) -> None:
    desk.skip(0)
    desk.skip(1)
    for place in range(2, 6):
        assert asked(desk) == place
        desk.label(place, "good")
    assert (asked(desk), desk.view().skipped) == (0, 2)
    desk.skip(0)
    assert asked(desk) == 1
    desk.label(1, "bad")
    desk.label(0, "bad")
    assert (asked(desk), desk.view().skipped) == (None, 0)


def test_everything_can_be_taken_back_in_turn(desk: LabellingSession, labels: LabelFile) -> None:
    desk.label(0, "good")
    desk.skip(1)
    desk.label(2, "bad")
    told = []
    for _ in range(4):
        told.append((desk.view().undoes, asked(desk)))
        desk.undo()
    assert told == [("bad", 3), ("skip", 2), ("good", 1), ("", 0)]
    assert (asked(desk), labels.rows, desk.view().skipped) == (0, [], 0)


def test_a_skip_of_what_is_labelled_by_now_is_taken_back_without_harm(
    desk: LabellingSession,
) -> None:
    desk.skip(0)
    desk.skip(1)
    desk.label(0, "good")
    for _ in range(3):
        desk.undo()
    assert (asked(desk), desk.view().skipped, desk.view().undoes) == (0, 0, "")


def test_a_label_is_given_once_and_only_to_pairs(desk: LabellingSession, labels: LabelFile) -> None:
    desk.label(0, "good")
    desk.label(0, "bad")  # A form that is sent twice.
    desk.skip(0)
    assert [label for _, label in labels.rows] == ["good"]
    assert desk.view().skipped == 0
    for place, label in ((6, "good"), (-1, "good"), (1, "fine")):
        with pytest.raises(DataError):
            desk.label(place, label)
    with pytest.raises(DataError, match="there is no pair 6"):
        desk.skip(6)


def test_labels_of_other_pairs_stay_and_do_not_count(tmp_path: Path) -> None:
    with LabelFile(tmp_path / "ann.csv", "ANN") as labels:
        labels.append(("old", "i0"), "bad")
        desk = LabellingSession(PAIRS, TEXTS, labels)
        desk.label(0, "good")
        assert (desk.view().good, desk.view().bad, asked(desk)) == (1, 0, 1)
        assert labels.rows[0] == (("old", "i0"), "bad")


def test_others_are_compared_as_far_as_they_are(tmp_path: Path, labels: LabelFile) -> None:
    ben, cleo = tmp_path / "ben.csv", tmp_path / "cleo.csv"
    desk = LabellingSession(PAIRS, TEXTS, labels, [ben, cleo])
    for place in range(4):
        desk.label(place, ("good", "bad")[place % 2])
    assert list(desk.view().agreed) == [AgreementSoFar("ben", 0), AgreementSoFar("cleo", 0)]
    ben.write_text("query,item_id,label\nq0,i0,good\nq0,i1,bad\nq1,i2,good\nq1,i3,ba")
    assert desk.view().agreed[0] == AgreementSoFar("ben", 0)  # It is being written.
    ben.write_text("query,item_id,label\nq0,i0,good\nq0,i1,bad\nq1,i2,good\nq1,i3,bad\nq2,i5,bad\n")
    found = desk.view().agreed[0]
    assert (found.pairs, found.kappa, found.high) == (4, 1.0, 1.0)
    assert found.low is not None
    assert found.low < 0.5  # Two queries that agree prove little.


def test_agreement_beyond_chance() -> None:
    pairs = [(f"q{number // 4}", f"i{number}") for number in range(40)]
    one = {pair: number % 2 == 0 for number, pair in enumerate(pairs)}
    other = {pair: is_bad != (number % 4 == 3) for number, (pair, is_bad) in enumerate(one.items())}
    found = measure_agreement(one, {**other, ("more", "i"): True})
    assert (found.pairs, found.queries, found.agreed, found.kappa) == (40, 10, 0.75, 0.5)
    assert found.ci95 is not None
    low, high = found.ci95
    assert low < 0.5 <= high
    turned = measure_agreement(other, one)
    assert (turned.kappa, turned.agreed) == (0.5, 0.75)
    assert measure_agreement(one, {}) == Agreement(0, 0, 0.0, None, None)
    good = dict.fromkeys(pairs, False)
    assert measure_agreement(good, good) == Agreement(40, 10, 1.0, None, None)


def test_the_command_tells_each_two(tmp_path: Path) -> None:
    files = []
    for name, labels in (("a", "good bad good"), ("b", "good bad bad"), ("c", "good good good")):
        rows = "".join(f"q,i{place},{label}\n" for place, label in enumerate(labels.split()))
        files.append(tmp_path / f"{name}.csv")
        files[-1].write_text("query,item_id,label\n" + rows)
    options = [part for path in files for part in ("--labels", str(path))]
    found = invoke("judge", "agreement", *options)[1]["agreements"]
    couples = [[Path(path).stem for path in row["labels"]] for row in found]
    assert couples == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert [row["kappa"] for row in found] == [pytest.approx(0.4), 0.0, 0.0]
    told = CliRunner().invoke(app, ["judge", "agreement", *options]).stdout
    assert "kappa 0.400" in told
    assert "3 pairs of 1 queries in common" in told
    with pytest.raises(ConfigError, match="two files"):
        compare_label_files(files[:1])
