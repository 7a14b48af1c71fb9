import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand as stand_world
from bench_products import COLOURS, KINDS, write_products
from small_shop import write_files
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.content.cache import VectorCache
from serendip.content.encoders.text import HashingEncoder
from serendip.data import Catalogue, Event, Item
from serendip.data.events.search_log import Search
from serendip.engine.engine import Engine
from serendip.engine.workspace import Workspace
from serendip.jobs.import_files import import_files
from serendip.jobs.rewrites import build_rewrite_table, find_near_words
from serendip.jobs.suggestions.build import build_table
from serendip.runtime.progress import SilentProgress, TrainOptions
from serendip.search.rewrites import Rewrite, RewriteTable
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import catalogue_candidates
from serendip.search.suggestions.config import QueriesConfig
from serendip.search.suggestions.table import QueryTable
from serendip_bench.rewrites import RewritesBench, run_rewrites

PLACES = ("kitchen", "garden", "office")


def item(number: int) -> Item:
    colour, kind, place = COLOURS[number % 3], KINDS[number % 4], PLACES[number // 12 % 3]
    attributes = {"brand": f"{colour} works", "category": kind}
    return Item(f"i{number}", f"{colour} {kind} {number}", f"For the {place}.", attributes)


class Shop:
    """A catalogue, its verified suggestions, and the tables of rewrites of logs."""

    def __init__(self, folder: Path) -> None:
        catalogue, counts = Catalogue(item(number) for number in range(144)), np.ones(144, np.int32)
        popularity, self.config = counts.astype(np.float32), QueriesConfig(unsafe_words=("lamp",))
        self.searcher = Searcher.build(catalogue, popularity, folder)
        candidates = catalogue_candidates(catalogue, popularity, self.config)
        parts = (self.searcher, self.config, counts, [], SilentProgress())
        self.queries: QueryTable = build_table(catalogue, candidates, *parts)[0]
        pairs = (("rug", "carpet"), ("kettle", "boiler"), ("chair", "sofa"))
        self.near = {one: ((two, 0.9),) for pair in pairs for one, two in (pair, pair[::-1])}
        self.near["sofa"] += (("lamp", 0.9),)

    def build(self, log: list[Search]) -> tuple[RewriteTable, dict[str, Any]]:
        options = TrainOptions(seed=0)
        return build_rewrite_table(
            self.searcher, self.queries, self.near, log, self.config, options
        )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("search") / "s")


def searches() -> list[Search]:
    """Four people find nothing for one text, and then something."""
    found = []
    for number in range(4):
        for step, (text, chosen) in enumerate((("purple divan", []), ("Green chair", [11]))):
            items = np.array(chosen, np.int32)
            found.append(Search(f"u{number}", 100.0 * number + step, text, text.lower(), items))
    return found


@pytest.fixture(scope="module")
def built(shop: Shop) -> tuple[RewriteTable, dict[str, Any]]:
    return shop.build(searches())


def test_the_head_is_what_people_searched_next(
    shop: Shop, built: tuple[RewriteTable, dict[str, Any]]
) -> None:
    table, told = built
    assert table.head["purple divan"][0] == Rewrite("Green chair", "substitute", 4 / 6)
    matches = shop.searcher.lexical.having_all
    for key, found in table.head.items():
        for one in found:
            assert len(matches(one.text.lower(), 200)) > len(matches(key, 200))
    assert told["texts"] == len(table.head)
    assert told["learned_from"]["made"] > 0


def test_the_student_answers_for_texts_that_nobody_has_seen(shop: Shop) -> None:
    table, _ = shop.build([])
    wide = replace(shop.searcher, rewrites=table)
    found = wide.find_rewrites("red kettle zeppelin")
    assert found[0].text == "red kettle" and found[0].kind == "broader"
    assert 0.5 <= found[0].confidence <= 1
    assert "red chair" in {one.text for one in wide.find_rewrites("red sofa")}
    assert wide.find_rewrites("zeppelin") == ()


def test_nothing_unsafe_is_offered(built: tuple[RewriteTable, dict[str, Any]]) -> None:
    table, _ = built
    assert table.near["sofa"] == (("chair", 0.9),)
    assert not [one for found in table.head.values() for one in found if "lamp" in one.text]


def test_words_of_queries_have_near_ones_of_the_catalogue(tmp_path: Path) -> None:
    counts = {"leather": 9, "leathers": 5, "rare": 1}
    encoder, cache = HashingEncoder(), VectorCache(tmp_path)
    found = find_near_words(counts, ["leather leathery 7"], encoder, cache, TrainOptions(0))
    others = {other for near in found.values() for other, _ in near}
    assert set(found) <= {"leather", "leathers", "leathery", "7"} and "rare" not in others
    assert find_near_words({}, ["a"], encoder, cache, TrainOptions(0)) == {}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A stand where four people found nothing for one text and something for another."""
    folder = tmp_path_factory.mktemp("rewritten") / "stand"
    write_files(folder, num_users=stand_world.NUM_USERS)
    workspace = Workspace.open(folder)
    import_files(workspace)
    events = []
    for number in range(4):
        events.append(Event(f"u{number}", "", 1e9 + number, "click", query="spooky yarn"))
        chosen = Event(f"u{number}", "i3", 1e9 + 60 + number, "click", query="horror tale")
        events.append(chosen)
    with closing(workspace.open_store()) as store:
        store.put_events(events)
    stand_world.train(folder)
    with closing(Engine.open(folder)) as engine:
        yield engine


def test_training_publishes_rewrites_and_answers_offer_them(asked: Engine) -> None:
    assert asked._manifest["rewrites"]["texts"] == len(asked.state.searcher.rewrites.head)
    found = asked.search("spooky yarn").understood
    assert found is not None and found.searched == "spooky yarn" and not found.is_corrected
    assert [(one.text, one.kind) for one in found.rewrites] == [("horror tale", "substitute")]
    many = asked.search("horror").understood
    assert many is not None and not many.rewrites


def test_figures_are_of_queries_that_the_student_has_not_seen(tmp_path: Path) -> None:
    folder, file = write_products(tmp_path / "products"), tmp_path / "rewrites.json"
    done = CliRunner().invoke(
        app, ["bench", "rewrites", "--data", str(folder), "--json", str(file)]
    )
    assert done.exception is None, done.exception
    document: dict[str, Any] = json.loads(file.read_text())
    again = run_rewrites(RewritesBench(folder, file, tmp_path / "cache"), TrainOptions(0))
    assert set(document["students"]) == {"without a log", "with a log"}
    for name, student in document["students"].items():
        assert student["rows"] == again["students"][name]["rows"]
        rows = {row["queries"]: row for row in student["rows"]}
        assert sum(row["of all"] for row in student["rows"]) == 2 * rows["both"]["of all"]
        assert rows["both"]["of all"] + student["others"] == document["queries"] == 2
