"""Labels of searches that no rule agrees with are no labels: coin flips stop a training."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from small_shop import NUM_ITEMS, TASTES, import_shop

from serendip.errors import DataError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.agreement import check_labels, require_plausible_labels
from serendip.jobs.train.train import train_workspace


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


def test_few_labels_tell_nothing(context: JobContext) -> None:
    found = check_labels(context, context.dataset.catalogue, make_labels(0.92, queries=6))
    assert not found.on and "10 are needed" in found.reason


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
    with (context.workspace.folder / "serendip.toml").open("a") as stream:
        stream.write('\n[ranker.searches]\nlabels = ["labels.csv"]\n')
    with pytest.raises(DataError, match="as thrown coins would"):
        train_workspace(JobContext.open(context.workspace.folder))
    write(make_labels(0.5, queries=6))
    if columns:
        with pytest.raises(DataError, match="10 are needed"):
            require_plausible_labels(context, context.dataset.catalogue, [path])
    else:
        require_plausible_labels(context, context.dataset.catalogue, [path])
