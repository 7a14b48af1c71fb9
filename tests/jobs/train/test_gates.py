"""A generation that is worse on one slice is not published, unless by force."""

from __future__ import annotations

import csv
import logging
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from serendip.data.vocabulary import Vocabulary
from serendip.engine.artefacts.generations import current_name, open_current, open_in_force
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, GateError
from serendip.evaluate.decision import DECISIONS, Decision
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.train.gates import check_budget, check_kept_items, require_passed
from serendip.jobs.train.train import train_workspace
from serendip.runtime.budget import TimeBudget

NUM_USERS, TASTES, STEPS = 80, 4, 7
SETTINGS = """
[items]
path = "items.csv"

[events]
path = "events.csv"

[content]
name = "hashing"
fields = ["title"]

[models.retriever]
embedding_size = 8
search_size = 0
epochs = 1
max_len = 8

[ranker]
epochs = 1

[ranker.searches]
written = 0

[surfaces.shelf]
task = "home"
scorer = "content"
sources = {content = 20}
"""
WITHOUT_NEW_ITEMS = SETTINGS.replace("sources = {content = 20}", "sources = {item-knn = 20}")
"""Items without events are no candidates: only they are lost, all others move up."""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every user takes seven items of one taste, all users in step; the last one is a new item."""
    folder = tmp_path_factory.mktemp("crowd")
    words = ("horror ghost", "comedy laugh", "western rider", "space rocket")
    with (folder / "items.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["item_id", "title"])
        for taste in range(TASTES):
            for number in range(STEPS + 1):
                writer.writerow([f"i{taste}-{number}", f"{words[taste]} tale"])
            writer.writerow([f"new{taste}", f"{words[taste]} tale"])
    with (folder / "events.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp", "action"])
        for step in range(STEPS):
            for user in range(NUM_USERS):
                taste = user % TASTES
                item = f"new{taste}" if step == STEPS - 1 else f"i{taste}-{(user + step) % 8}"
                time = 1_600_000_000 + 100_000 * step + user
                writer.writerow([f"u{user}", item, time, "click"])
    (folder / "serendip.toml").write_text(SETTINGS)
    import_files(Workspace.open(folder))
    return folder


def test_a_generation_is_compared_with_the_one_in_force(
    crowd: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generations, settings = crowd / "generations", crowd / "serendip.toml"
    first = train_workspace(JobContext.open(crowd)).manifest[DECISIONS]["gates"]
    asked = ["answers a new visitor", "search finds titles", "shows similar items"]
    lists = "no rejected items shown as new"
    assert [gate["name"] for gate in first] == ["finite numbers", *asked, lists]

    # Equal generations: every difference is 0. The margin decides nothing that is learned.
    settings.write_text(SETTINGS + "\n[gate]\nmargin = 0.125\n")
    gates = train_workspace(JobContext.open(crowd)).manifest[DECISIONS]["gates"]
    again = {gate["name"]: gate for gate in gates}[
        "no surface or slice more than 12.5 % worse than gen-1"
    ]
    assert gates[-1]["name"] == "no measure of lists more than 15 % worse than gen-1"
    assert again["on"] and gates[-1]["on"]
    assert "(+0.0000, +0.0000 to +0.0000" in again["reason"]

    settings.write_text(WITHOUT_NEW_ITEMS)
    with pytest.raises(DataError, match="shelf, cold items: nDCG@10") as refused:
        train_workspace(JobContext.open(crowd))
    assert "more than 5 % worse than gen-2" in str(refused.value)
    assert "shelf, warm items" not in str(refused.value)
    assert "home" not in str(refused.value)
    assert current_name(generations) == "gen-2"

    with caplog.at_level(logging.WARNING, logger="serendip.jobs.train"):
        forced = train_workspace(JobContext.open(crowd), force=True)
    assert open_current(generations).name == forced.name == "gen-3"
    gate = forced.manifest[DECISIONS]["gates"][-1]
    assert not gate["on"]
    assert "gen-3 is published by force" in caplog.text
    assert gate["name"] in caplog.text and "shelf, cold items" in gate["reason"]


def check_after_import(shop: Path, count: int, least: float = 0.9) -> list[Decision]:
    """Cut the items file off after some rows, import it, and check what is left."""
    with (shop / "items.csv").open() as stream:
        rows = list(islice(stream, 1 + count))
    (shop / "items.csv").write_text("".join(rows))
    import_files(Workspace.open(shop), allow_loss=True)
    return check_items(shop, least)


def check_items(shop: Path, least: float = 0.9) -> list[Decision]:
    """Check the items that the database has now."""
    items = JobContext.open(shop).dataset.catalogue.vocabulary
    with closing(Workspace.open(shop).open_store()) as store:
        deleted = store.items_deleted_by_api()
    return check_kept_items(items, deleted, open_in_force(shop / "generations"), least)


def test_an_items_file_that_was_cut_off_is_not_published(stand: Path) -> None:
    (gate,) = check_after_import(stand, 50)  # of 60; ten may always go
    assert gate.on and gate.reason == "50 of its 60 items are still there"
    with pytest.raises(GateError, match=r"has the items of gen-1 \(49 of its 60 items") as refused:
        require_passed(check_after_import(stand, 49))
    for told in ("at least 90 % must be", "serendip import", "serendip train --force"):
        assert told in str(refused.value)
    (gate,) = check_after_import(stand, 48, least=0.8)
    assert gate.on
    assert check_after_import(stand, 1, least=0) == []


def test_items_that_were_deleted_one_by_one_stop_no_training(stand: Path) -> None:
    with closing(Workspace.open(stand).open_store()) as store:
        for number in range(20):
            assert store.delete_item(f"i{number}")
        assert store.erase_item("i20")
    (gate,) = check_items(stand)
    assert gate.on
    assert gate.reason == "39 of its 60 items are still there, 21 were deleted one by one"
    (gate,) = check_after_import(stand, 48)  # of the rows that it lost, none was deleted
    assert not gate.on


def test_without_a_generation_in_force_any_items_will_do() -> None:
    assert check_kept_items(Vocabulary(["a"]), (), None, 0.9) == []


def test_a_failed_gate_is_told_with_its_figures() -> None:
    good, bad = (
        Decision.gate("fine", True, "2 of 2"),
        Decision.gate("finite numbers", False, "1 NaN"),
    )
    require_passed([good])
    with pytest.raises(DataError, match=r"fails the gates: finite numbers \(1 NaN\)") as error:
        require_passed([good, bad])
    assert "--force" in error.value.hint


def cut_at(name: str, steps: int, done: float, continues: bool = False) -> TimeBudget:
    budget = TimeBudget(90)
    budget.allow(name, 0.5).cut(done, continues, steps)
    return budget


@pytest.mark.parametrize(
    ("name", "steps", "done", "continues", "passes"),
    [
        ("retriever (all-older)", 0, 0.0, False, False),
        ("retriever (all) similar", 99, 0.009, False, False),
        ("retriever (all-older)", 1, 0.25, False, False),  # a step of four is no training
        ("retriever (all-older)", 100, 0.001, False, True),  # of many epochs of a long log
        ("retriever (all)", 0, 0.0, True, True),  # it has what the earlier training learned
        ("ranker search order", 0, 0.0, False, True),  # a choice that was not made
    ],
)
def test_a_model_that_had_no_time_to_learn_is_not_published(
    name: str, steps: int, done: float, continues: bool, passes: bool
) -> None:
    budget = cut_at(name, steps, done, continues)
    (gate,) = check_budget(budget, {"retriever": object()})
    assert gate.on is passes
    assert "90 s" in gate.reason and f"{name} at {100 * done:.1f} %" in gate.reason
    assert "enough" not in gate.reason
    assert (f"%, step {steps}" in gate.reason) is (steps > 0)
    assert ("--budget" in gate.reason) is not passes


def test_a_budget_that_cut_nothing_short_was_enough() -> None:
    (gate,) = check_budget(TimeBudget(90), {"retriever"})
    assert gate.on and gate.reason == "a budget of 90 s was enough"


def test_without_a_budget_there_is_no_gate_of_time() -> None:
    assert check_budget(TimeBudget(), {"retriever"}) == []
