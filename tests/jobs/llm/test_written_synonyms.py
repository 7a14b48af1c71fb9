import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from fault_server import Body, Reply, completion, configure, data_of, serving
from small_shop import NUM_USERS, import_shop, write_files

from serendip.data import Catalogue, Event, Item
from serendip.data.events.search_log import SUGGESTED
from serendip.data.privacy import VISITOR
from serendip.engine.workspace import Workspace
from serendip.jobs.import_files import import_files
from serendip.jobs.llm.search_words import select_synonyms, select_terms
from serendip.llm.tasks import WrittenSynonyms
from serendip.search.lexical import LexicalIndex
from serendip.search.suggestions.checks import Blocklist
from serendip.search.synonyms import Synonym, read_synonyms, write_synonyms


def run(shop: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    return invoke("llm", "run", "synonyms", "-w", str(shop), *arguments)


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
    with workspace.open_store() as store:
        store.put_events(events)
    return folder


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
        place = ("--most", "3")
        told = run(shop, *place, "--estimate")[1]
        assert told["estimate"]["questions"] == 3 and told["estimate"]["price"] > 0
        assert not server.bodies and read_synonyms(shop / "synonyms.csv") == known
        code, told = run(shop, *place, "--budget", "0")
        assert code == 1 and told["state"] == "partial" and not server.bodies
        code, told = run(shop, *place, "--budget", "1")
        assert code == 0 and len(server.bodies) == 3 and told["spent"] > 0
        again = run(shop, *place, "--budget", "1")[1]
        assert len(server.bodies) == 3 and again["written"] == 0
        assert again["spent"] == told["spent"]
    rows = read_synonyms(shop / "synonyms.csv")
    new = [row for row in rows if row.key != known[0].key]
    assert len(new) == told["written"] and known[0] in rows
    assert {row.state for row in new} == {"proposed"} and {row.source for row in new} == {"llm:m"}
    assert {row.also for row in new} == {"comedy", "western tale"}
    assert ("funny story", "western tale") in {row.key for row in new}
    assert all(0 <= row.confidence <= 1 for row in new)
    dropped = told["dropped"]
    assert dropped["finds nothing"] == dropped["unsafe"] == dropped["only the term"] == 3
    assert dropped["an address or odd signs"] == 3
    terms = [data_of(body)["term"] for body in server.bodies]
    assert terms == ["funny story", "number", "tale"]
    sent = {word for body in server.bodies for word in re.findall(r"\w+", json.dumps(body))}
    people = {f"s{n}" for n in range(10)} | {f"u{n}" for n in range(NUM_USERS)}
    assert "tale" in sent and not sent & (people | {"secret", "chuckle", "jo"})


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


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    workspace = Workspace.open(import_shop(folder))
    events = [
        Event(f"s{user}", f"i{item}", 1e9 + user, "click", query=text)
        for user in range(3)
        for item in (1, 4)
        for text in ("funny", "laughs")
    ]
    # Nobody's to propose: one person's, one of no people, first letters, an address of somebody.
    others = [("s9", "my secret", ""), *((f"{VISITOR}{n}", "chuckle", "") for n in range(9))]
    others += [(f"s{user}", "fun", SUGGESTED) for user in range(3)]
    others += [(f"s{user}", f"jo{sign}example com", "") for user, sign in enumerate("@ @.")]
    more = [
        Event(user, f"i{item}", 1e9, "click", query=text, surface=surface)
        for user, text, surface in others
        for item in (1, 4)
    ]
    with workspace.open_store() as store:
        store.put_events([*events, *more])
    return folder


def test_pairs_are_proposed_once_reviewed_in_the_file_and_kept(searched: Path) -> None:
    first, path = run(searched, "--free")[1], searched / "synonyms.csv"
    assert first["written"] == first["states"]["proposed"] > 0
    rows = read_synonyms(path)
    log = {row.key for row in rows if row.source == "log"}
    assert log == {("funny", "laughs"), ("laughs", "funny")}
    table = path.read_text()
    assert not [text for text in ("secret", "chuckle", "fun,", "example") if text in table]

    states = {("funny", "laughs"): "accepted", ("laughs", "funny"): "rejected"}
    reviewed = [replace(row, state=states.get(row.key, row.state)) for row in rows]
    write_synonyms(path, reviewed)
    again = run(searched, "--free")[1]
    assert again["written"] == 0
    assert again["states"]["accepted"] == again["states"]["rejected"] == 1
    assert {row.key: row.state for row in read_synonyms(path)}.items() >= states.items()
