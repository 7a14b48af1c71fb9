import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_shop import NUM_ITEMS, TASTES, add_settings, import_shop

from serendip.errors import ConfigError, DataError
from serendip.evaluate.decision import Decision
from serendip.evaluate.intervals import Estimate
from serendip.jobs.context import JobContext
from serendip.jobs.labels.agreement import (
    check_labels,
    gate_labels,
    measure_kappa,
    require_plausible_labels,
)
from serendip.jobs.labels.pair_files import read_labels
from serendip.jobs.train.train import train_workspace

COLUMNS = ("query", "item_id", "label")


def write_csv(path: Path, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


def test_agreement_beyond_chance() -> None:
    pairs = [(f"q{number // 4}", f"i{number}") for number in range(40)]
    labels = {pair: number % 2 == 0 for number, pair in enumerate(pairs)}
    others = {
        pair: label != (number % 4 == 3) for number, (pair, label) in enumerate(labels.items())
    }
    both = measure_kappa(labels, {**others, ("more", "i"): True})
    assert (both.n, both.value) == (40, 0.5)
    assert both.low is not None and both.high is not None and both.low < 0.5 <= both.high
    assert measure_kappa(others, labels).value == 0.5
    assert measure_kappa(labels, {}) == Estimate(-1.0, -1.0, 1.0, 0)
    relevant = dict.fromkeys(pairs, False)
    assert measure_kappa(relevant, relevant) == Estimate(-1.0, -1.0, 1.0, 40)


def test_a_pair_without_a_label_is_not_labelled(tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    path.write_text("query,item_id,title,label\nq,a,An a,good\nq,b,A b,\nq,c,A c,bad\n")
    assert read_labels(path) == {("q", "a"): False, ("q", "c"): True}


def gold_rows(queries: int = 30) -> list[tuple[str, ...]]:
    """Half of six items are irrelevant to every query."""
    return [
        (f"q{query}", f"i{item}", "IESC"[item]) for query in range(queries) for item in range(4)
    ] + [(f"q{query}", f"i{4 + item}", "I") for query in range(queries) for item in range(2)]


def gate(
    folder: Path,
    rows: list[tuple[str, ...]],
    floor: float = 0.6,
    gold: list[tuple[str, ...]] | None = None,
    **more: Any,
) -> Decision:
    labels = write_csv(folder / "labels.csv", COLUMNS, rows)
    gold_labels = write_csv(folder / "gold.csv", COLUMNS, gold or gold_rows())
    return gate_labels(labels, gold_labels, floor, **more)


def test_labels_that_agree_pass_and_others_fail(tmp_path: Path) -> None:
    same = [(query, item, "bad" if label == "I" else "good") for query, item, label in gold_rows()]
    result = gate(tmp_path, same)
    assert (result.verdict, result.gain, result.high, result.n) == ("passed", 1.0, 1.0, 180)
    assert result.low is not None and 0.9 < result.low < 1.0  # One more query could disagree.
    all_relevant = [(query, item, "good") for query, item, _ in same]
    assert gate(tmp_path, all_relevant).verdict == "failed"


def test_the_lower_end_of_the_interval_decides(tmp_path: Path) -> None:
    """A fifth of the queries has wrong labels: kappa is .6, and its lower end is below that."""
    swap = {"I": "good", "E": "bad", "S": "bad", "C": "bad"}
    keep = {"I": "bad", "E": "good", "S": "good", "C": "good"}
    rows = [
        (query, item, (swap if int(query[1:]) % 5 == 0 else keep)[label])
        for query, item, label in gold_rows()
    ]
    result = gate(tmp_path, rows, 0.55)
    assert result.gain == pytest.approx(0.6)
    assert result.low is not None and result.low < 0.55
    assert result.verdict == "failed"
    assert gate(tmp_path, rows, result.low - 0.01).verdict == "passed"


def test_no_verdict_on_seen_queries_few_queries_one_kind_or_pairs_without_a_label(
    tmp_path: Path,
) -> None:
    seen = write_csv(tmp_path / "tuned.csv", ("query", "item_id"), [(" Q7", "other"), ("x", "y")])
    result = gate(tmp_path, gold_rows(), seen=[seen])
    assert (result.verdict, result.gain) == ("refused", None)
    assert "'q7'" in result.reason

    few = [row for row in gold_rows(9)]
    assert "9 queries have relevant items" in gate(tmp_path, few, gold=few).reason
    one_irrelevant = [(query, item, "E") for query, item, _ in gold_rows()]
    one_irrelevant[0] = (*one_irrelevant[0][:2], "I")
    result = gate(tmp_path, one_irrelevant, gold=one_irrelevant)
    assert (result.verdict, result.reason) == (
        "refused",
        "1 queries have irrelevant items; 10 are needed",
    )
    result = gate(tmp_path, gold_rows(26))
    assert result.verdict == "refused"
    assert "156 of 180" in result.reason


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("q", "i", "fine")], "the label 'fine'"),
        ([("q", "i", "good"), ("q", "i", "bad")], "both relevant and irrelevant"),
    ],
)
def test_damaged_labels_are_refused(
    tmp_path: Path, rows: list[tuple[str, ...]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        gate(tmp_path, rows)
    with pytest.raises(ConfigError, match="between -1 and 1"):
        gate(tmp_path, gold_rows(), floor=2.0)


def make_labels(right: float, queries: int = 40) -> dict[tuple[str, str], bool]:
    """Pair -> is it irrelevant; a share of the labels is right."""
    random = np.random.default_rng(0)
    return {
        (f"{TASTES[query % 3]} {query + 100}", f"i{item}"): (item % 3 != query % 3)
        == bool(random.random() < right)
        for query in range(queries)
        for item in range(query % 4, NUM_ITEMS, 4)
    }


@pytest.fixture
def context(tmp_path: Path) -> JobContext:
    return JobContext.open(import_shop(tmp_path / "shop"))


@pytest.mark.parametrize(("right", "on"), [(0.92, True), (0.5, False), (0.08, False)])
def test_labels_are_told_from_coin_flips(context: JobContext, right: float, on: bool) -> None:
    found = check_labels(context, context.dataset.catalogue, make_labels(right))
    assert (found.on, found.n) == (on, 40)
    assert found.low is not None and (found.low > 0.8) == on


@pytest.mark.parametrize("columns", [("model",), ()], ids=["by a model", "by people"])
def test_coin_flips_stop_a_training(
    context: JobContext, tmp_path: Path, columns: tuple[str, ...]
) -> None:
    path = context.workspace.folder / "labels.csv"

    def write(labels: dict[tuple[str, str], bool]) -> None:
        rows = [(*pair, "bad" if bad else "good", "m") for pair, bad in labels.items()]
        head = ("query", "item_id", "label", *columns)
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows([head, *(row[: len(head)] for row in rows)])

    write(make_labels(0.92))
    require_plausible_labels(context, context.dataset.catalogue, [path])
    write(make_labels(0.5, queries=200))
    add_settings(context.workspace.folder, '\n[ranker.searches]\nlabels = ["labels.csv"]\n')
    with pytest.raises(DataError, match="as thrown coins would"):
        train_workspace(JobContext.open(context.workspace.folder))
    write(make_labels(0.5, queries=6))
    if columns:
        with pytest.raises(DataError, match="10 are needed"):
            require_plausible_labels(context, context.dataset.catalogue, [path])
    else:
        require_plausible_labels(context, context.dataset.catalogue, [path])
