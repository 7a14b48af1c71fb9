"""``serendip synonyms build --llm``: proposed within a budget, checked against the catalogue."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fault_server import Body, Reply, completion, data_of, serving
from small_shop import NUM_USERS, write_files
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data import Catalogue, Item
from serendip.data.events.event import Event
from serendip.data.privacy import VISITOR
from serendip.engine.workspace import Workspace
from serendip.jobs.import_files import import_files
from serendip.jobs.synonyms.write_by_llm import select_synonyms, select_terms
from serendip.llm.tasks import WrittenSynonyms
from serendip.search.lexical import LexicalIndex
from serendip.search.suggestions.checks import Blocklist
from serendip.search.synonyms import Synonym, Synonyms, read_synonyms, write_synonyms


def build(shop: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["synonyms", "build", "-w", str(shop), *arguments, "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    write_files(folder)
    workspace = Workspace.open(folder)
    import_files(workspace)
    events = [Event(f"s{n}", "i1", 1e9 + n, "click", query="Funny story") for n in range(3)]
    events += [Event("s9", "i1", 1e9, "click", query="my secret")]
    events += [Event(f"{VISITOR}{n}", "i1", 1e9, "click", query="chuckle") for n in range(9)]
    events += [Event(f"s{n}", "i1", 1e9, "click", query="jo@example.com") for n in range(3)]
    with closing(workspace.open_store()) as store:
        store.put_events(events)
    return folder


def configure(folder: Path, address: str) -> None:
    with (folder / "serendip.toml").open("a") as stream:
        stream.write(
            f'\n[llm]\nprovider = "endpoint"\nbase_url = "{address}"\nmodel = "m"\n'
            "input_price = 1.0\noutput_price = 2.0\nconcurrency = 1\n"
        )


def proposing(body: Body, number: int) -> Reply:
    """Two that are in the catalogue, one that is not, and some that must not pass."""
    data = data_of(body)
    found = ["Comedy", "western tale", "quantum zebra", f"{data['term']}s", "porn", "a@b.example"]
    return completion(json.dumps({"id": data["id"], "synonyms": found}))


def test_an_llm_proposes_within_a_budget_what_finds_something_and_nothing_is_accepted(
    shop: Path,
) -> None:
    known = [Synonym("funny story", "comedy", "rejected", 1.0, "people")]
    write_synonyms(shop / "synonyms.csv", known)
    with serving(proposing) as server:
        configure(shop, server.address)
        place = ("--llm", "--terms", "3")
        told = build(shop, *place, "--budget", "1", "--estimate")[1]
        assert told["estimate"]["questions"] == 3 and told["estimate"]["price"] > 0
        assert not server.bodies and read_synonyms(shop / "synonyms.csv") == known
        code, told = build(shop, *place, "--budget", "0")
        assert code == 1 and told["llm"]["state"] == "partial" and not server.bodies
        code, told = build(shop, *place, "--budget", "1")
        assert code == 0 and len(server.bodies) == 3 and told["llm"]["spent"] > 0
        again = build(shop, *place, "--budget", "1")[1]
        assert len(server.bodies) == 3 and again["new"] == 0
        assert again["llm"]["spent"] == told["llm"]["spent"]
    rows = read_synonyms(shop / "synonyms.csv")
    new = [row for row in rows if row.key != known[0].key]
    assert len(new) == told["new"] and known[0] in rows
    assert {row.state for row in new} == {"proposed"} and {row.source for row in new} == {"llm:m"}
    assert {row.also for row in new} == {"comedy", "western tale"}
    assert ("funny story", "western tale") in {row.key for row in new}
    assert all(0 <= row.confidence <= 1 for row in new)
    dropped = told["llm"]["dropped"]
    assert dropped["finds nothing"] == dropped["unsafe"] == dropped["only the term"] == 3
    assert dropped["an address or odd signs"] == 3
    terms = [data_of(body)["term"] for body in server.bodies]
    assert terms == ["funny story", "number", "tale"]
    sent = {word for body in server.bodies for word in re.findall(r"\w+", json.dumps(body))}
    people = {f"s{n}" for n in range(10)} | {f"u{n}" for n in range(NUM_USERS)}
    assert "tale" in sent and not sent & (people | {"secret", "chuckle", "jo"})


def test_an_llm_needs_a_budget(shop: Path) -> None:
    done = CliRunner().invoke(app, ["synonyms", "build", "-w", str(shop), "--llm"])
    assert done.exit_code != 0 and "budget" in str(done.exception)


def test_what_an_llm_proposed_is_searched_only_once_it_is_accepted(shop: Path) -> None:
    with serving(proposing) as server:
        configure(shop, server.address)
        build(shop, "--llm", "--terms", "1", "--budget", "1")
    workspace = Workspace.open(shop)
    abbreviations = Synonyms.of(()).also
    assert workspace.accepted_synonyms().also == abbreviations
    rows = read_synonyms(workspace.synonyms)
    pair = Synonym("funny story", "western tale", "accepted", 1.0, "people")
    write_synonyms(workspace.synonyms, [*(row for row in rows if row.key != pair.key), pair])
    accepted = {"funny story": ("western tale",)}
    assert workspace.accepted_synonyms().also == {**abbreviations, **accepted}


def test_queries_come_before_words_and_neither_are_grammar_or_too_long() -> None:
    counts = {"with": 90, "sofa": 50, "lamp": 60, "rare": 1, "7": 80}
    searched = ["red sofa", "the", "a long query of words", "lamp"]
    assert select_terms(searched, counts) == ["red sofa", "lamp", "sofa"]


def test_pairs_that_say_or_find_nothing_never_reach_people(tmp_path: Path) -> None:
    items = Catalogue([Item("a", "Red couch"), Item("b", "Murphy bed")])
    index = LexicalIndex.build(items, tmp_path / "i")
    said = ["couch", "Couch!", "sofas", "red bed", "a b c d", "...", "<b>couch", "bed"]
    answers = [WrittenSynonyms(id="x", synonyms=said[:6]), None]
    found, dropped = select_synonyms(["sofa", "bed"], answers, index, Blocklist.of(), "llm:m")
    assert found == [Synonym("sofa", "couch", "proposed", 0.0, "llm:m")]
    assert dropped == {
        "written twice": 1,
        "only the term": 1,
        "finds nothing": 1,
        "empty or long": 2,
    }
    answers = [WrittenSynonyms(id="x", synonyms=said[6:])]
    found, dropped = select_synonyms(["sofa"], answers, index, Blocklist.of(["bed"]), "llm:m")
    assert found == [] and dropped == {"an address or odd signs": 1, "unsafe": 1}
