"""A labelling session: the next pair, skips, undo, and measure_agreement with other labellers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import invoke
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data.labelling import AgreementSoFar
from serendip.errors import ConfigError, DataError
from serendip.jobs.labels.agreement import Agreement, compare_files, measure_agreement
from serendip.jobs.labels.by_hand import LabellingSession
from serendip.jobs.labels.label_file import LabelFile

PAIRS = [(f"q{number // 2}", f"i{number}") for number in range(6)]
TEXTS = [{"query": query, "item": {"title": f"Title of {item}"}} for query, item in PAIRS]


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[LabelFile]:
    with LabelFile(tmp_path / "ann.csv", "ANN") as opened:
        yield opened


@pytest.fixture
def session(labels: LabelFile) -> LabellingSession:
    return LabellingSession(PAIRS, TEXTS, labels)


def next_place(session: LabellingSession) -> int | None:
    shown = session.view().next_pair
    return None if shown is None else shown.place


def test_pairs_are_shown_in_order_until_all_have_labels(
    session: LabellingSession, labels: LabelFile
) -> None:
    for place in range(6):
        view = session.view()
        pair = view.next_pair
        assert pair is not None
        assert (pair.place, view.good + view.bad) == (place, place)
        assert (pair.query, pair.title) == (
            f"q{place // 2}",
            f"Title of i{place}",
        )
        session.label(place, ("good", "bad")[place % 2])
    view = session.view()
    assert (view.next_pair, view.good, view.bad, view.pairs) == (None, 3, 3, 6)
    assert [pair for pair, _ in labels.rows] == PAIRS


def test_skipped_pairs_come_last_in_turn(session: LabellingSession) -> None:
    session.skip(0)
    session.skip(1)
    for place in range(2, 6):
        assert next_place(session) == place
        session.label(place, "good")
    assert (next_place(session), session.view().skipped) == (0, 2)
    session.skip(0)
    assert next_place(session) == 1
    session.label(1, "bad")
    session.label(0, "bad")
    assert (next_place(session), session.view().skipped) == (None, 0)


def test_all_steps_can_be_undone_in_turn(session: LabellingSession, labels: LabelFile) -> None:
    session.label(0, "good")
    session.skip(1)
    session.label(2, "bad")
    steps = []
    for _ in range(4):
        steps.append((session.view().undoes, next_place(session)))
        session.undo()
    assert steps == [("bad", 3), ("skip", 2), ("good", 1), ("", 0)]
    assert (next_place(session), labels.rows, session.view().skipped) == (0, [], 0)


def test_undoing_the_skip_of_a_labelled_pair_changes_nothing(
    session: LabellingSession,
) -> None:
    session.skip(0)
    session.skip(1)
    session.label(0, "good")
    for _ in range(3):
        session.undo()
    assert (next_place(session), session.view().skipped, session.view().undoes) == (0, 0, "")


def test_a_pair_is_labelled_once_and_must_exist(
    session: LabellingSession, labels: LabelFile
) -> None:
    session.label(0, "good")
    session.label(0, "bad")  # The form was sent twice.
    session.skip(0)
    assert [label for _, label in labels.rows] == ["good"]
    assert session.view().skipped == 0
    for place, label in ((6, "good"), (-1, "good"), (1, "fine")):
        with pytest.raises(DataError):
            session.label(place, label)
    with pytest.raises(DataError, match="pair 6 does not exist"):
        session.skip(6)


def test_labels_of_other_pairs_are_kept_and_not_counted(tmp_path: Path) -> None:
    with LabelFile(tmp_path / "ann.csv", "ANN") as labels:
        labels.append(("old", "i0"), "bad")
        session = LabellingSession(PAIRS, TEXTS, labels)
        session.label(0, "good")
        assert (session.view().good, session.view().bad, next_place(session)) == (1, 0, 1)
        assert labels.rows[0] == (("old", "i0"), "bad")


def test_agreement_counts_the_labels_that_exist_so_far(tmp_path: Path, labels: LabelFile) -> None:
    ben, cleo = tmp_path / "ben.csv", tmp_path / "cleo.csv"
    session = LabellingSession(PAIRS, TEXTS, labels, [ben, cleo])
    for place in range(4):
        session.label(place, ("good", "bad")[place % 2])
    assert list(session.view().agreements) == [AgreementSoFar("ben", 0), AgreementSoFar("cleo", 0)]
    ben.write_text("query,item_id,label\nq0,i0,good\nq0,i1,bad\nq1,i2,good\nq1,i3,ba")
    assert session.view().agreements[0] == AgreementSoFar("ben", 0)  # The last row is incomplete.
    ben.write_text("query,item_id,label\nq0,i0,good\nq0,i1,bad\nq1,i2,good\nq1,i3,bad\nq2,i5,bad\n")
    ben_so_far = session.view().agreements[0]
    assert (ben_so_far.pairs, ben_so_far.kappa, ben_so_far.high) == (4, 1.0, 1.0)
    assert ben_so_far.low is not None
    assert ben_so_far.low < 0.5  # Two queries that agree prove little.


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
