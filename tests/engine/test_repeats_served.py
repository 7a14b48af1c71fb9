import csv
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import SETTINGS, WITHOUT_SEARCHES

from serendip.data.events.event import EXCLUSIONS, Event
from serendip.data.events.rejections import Rejected
from serendip.data.query import Query
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.pipeline import answer_queries
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.train.train import train_workspace

DAY = 86_400
BEGIN = 1_600_000_000
NUM_USERS, NUM_COFFEES, NUM_FILMS = 24, 6, 30
GAPS = (14, 11, 14, 17, 11, 14, 11, 14, 17, 17)
"""Days from each purchase to the next; 14 is the median."""

LAST_DAY = sum(GAPS)
"""Day of the last purchase."""


def write_grocery(folder: Path) -> None:
    """Everybody buys one coffee about every two weeks, and sees a film just before."""
    random = np.random.default_rng(0)
    with (folder / "items.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["item_id", "title", "genre"])
        writer.writerows([f"c{n}", f"Coffee number {n}", "coffee"] for n in range(NUM_COFFEES))
        writer.writerows([f"f{n}", f"The film number {n}", "film"] for n in range(NUM_FILMS))
    rows = []
    for user in range(NUM_USERS):
        seen = random.permutation(NUM_FILMS)
        for step in range(len(GAPS)):
            moment = BEGIN + sum(GAPS[: step + 1]) * DAY + user * 600
            rows.append([f"u{user}", f"f{seen[step]}", moment - 1_800, "watch"])
            rows.append([f"u{user}", f"c{user % NUM_COFFEES}", moment, "buy"])
    with (folder / "events.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp", "action"])
        writer.writerows(sorted(rows, key=lambda row: row[2]))
    settings = SETTINGS.replace("[ranker]\nepochs = 2", "[ranker]\nepochs = 40")
    settings += WITHOUT_SEARCHES + '\n[repeats]\ncategory = "genre"\n'
    (folder / "serendip.toml").write_text(settings)


@pytest.fixture(scope="module")
def grocery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grocery")
    write_grocery(folder)
    import_files(Workspace.open(folder))
    train_workspace(JobContext.open(folder))
    return folder


def home(grocery: Path, day: float, user: str = "u0") -> list[str]:
    with closing(Engine.open(grocery, clock=lambda: BEGIN + day * DAY)) as engine:
        return [item.item_id for item in engine.recommend(Request("home", user, k=60)).items]


def test_coffee_comes_again_after_two_weeks_and_a_film_never(grocery: Path) -> None:
    assert "c0" not in home(grocery, LAST_DAY + 5)
    later = home(grocery, LAST_DAY + 20)
    # The ranker has learned that it is bought again.
    assert "c0" in later[:5]
    with closing(Engine.open(grocery)) as engine:
        watched = {item.item_id for item in engine.chosen("u0", 60)} - {"c0"}
        assert np.isfinite(engine.state.repeats.after[:NUM_COFFEES]).all()
    assert len(watched) == 10
    assert not watched & set(home(grocery, LAST_DAY + 5_000))


@pytest.fixture
def late(grocery: Path, tmp_path: Path) -> Iterator[Engine]:
    import shutil

    folder = Path(shutil.copytree(grocery, tmp_path / "grocery"))
    with closing(Engine.open(folder, clock=lambda: BEGIN + 1_000.0 * DAY)) as opened:
        yield opened


def test_an_event_of_a_second_ago_takes_it_away_and_a_posted_item_comes_as_others_of_its_category(
    late: Engine,
) -> None:
    request = Request("home", "u0", k=60)
    (coffee,) = [item for item in late.recommend(request).items if item.item_id == "c0"]
    assert coffee.reason == "You chose it before"
    late.add_events([Event("u0", "c0", BEGIN + 1_000.0 * DAY - 1, "buy")])
    assert "c0" not in [item.item_id for item in late.recommend(request).items]

    from serendip.data.items.catalogue import Item

    late.add_items([Item("c9", "Coffee number 9", "", {"genre": "coffee"})])
    late.add_events([Event("u0", "c9", BEGIN + 900.0 * DAY, "buy")])
    assert "c9" in [item.item_id for item in late.recommend(Request("home", "u0", k=60)).items]


def test_only_what_may_come_again_is_proposed_and_not_what_is_rejected(late: Engine) -> None:
    state, surface = late.state, late.settings.all_surfaces()["home"]
    (query,) = late.queries([Request("home", "u0")])
    assert state.catalogue.vocabulary.ids_of(query.again) == ["c0"]
    (result,) = answer_queries([query], surface, state)
    assert result.trace["from again"] == 1
    (never,) = answer_queries([replace(query, again=query.again[:0])], surface, state)
    assert never.trace["from again"] == 0
    assert int(query.again[0]) not in never.items.item_nums
    codes = np.array([EXCLUSIONS.index("seen")], np.int8)
    returned = replace(query, rejected=Rejected.of(query.again, codes))
    (without,) = answer_queries([returned], surface, state)
    assert int(query.again[0]) not in without.items.item_nums
    anybody = surface.model_copy(update={"context": ("time",)})
    (same,) = answer_queries([query], anybody, state)
    assert same.trace["from again"] == 0
    assert Query().known(3).again.tolist() == []
