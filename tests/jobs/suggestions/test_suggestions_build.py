"""``serendip queries build``: by rules, and with queries that an LLM wrote."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from fault_server import Body, Reply, completion, configure, data_of, serving
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data.events.event import Event
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.snapshot import take_snapshot
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError
from serendip.jobs.context import JobContext
from serendip.jobs.suggestions.build import (
    compute_queries,
    read_written_queries,
)
from serendip.jobs.suggestions.write_by_llm import select_candidates
from serendip.llm.tasks import WrittenQueries


@pytest.fixture
def shop(fresh: Path) -> Path:
    return fresh


def build(*arguments: str) -> tuple[int, dict[str, Any]]:
    return invoke("queries", "build", *arguments)


def written_file(folder: Path) -> Path:
    return folder / "queries" / "written.json"


def suggested(folder: Path) -> int:
    """Number of suggestions of a training that an LLM wrote."""
    context = JobContext.open(folder)
    written = read_written_queries(context.workspace, context.dataset.catalogue)
    return int(compute_queries(context, written).report["by_source"].get("llm", 0))


def by_title(body: Body, number: int) -> Reply:
    """One that finds its item, one that is its title, one about nothing here, an unsafe one."""
    data = data_of(body)
    title = data["item"]["title"]
    queries = [f"a {title.split(' ', 1)[1]} please", title, "quantum zebra", f"porn {title}"]
    return completion(json.dumps({"id": data["id"], "queries": queries}))


def test_suggestions_are_built_anew_beside_the_models_that_there_are(stand: Path) -> None:
    code, told = build("-w", str(stand))
    assert code == 0 and told["generation"] == "gen-2"
    assert told["by_kind"]["attribute"] == 3
    assert told["category"] == "genre"


def test_rules_give_verified_queries(shop: Path) -> None:
    built = compute_queries(JobContext.open(shop))
    assert built.report["by_kind"]["attribute"] == 3 and built.report["titles"] == 60
    assert {"horror", "comedy", "western"} <= set(built.table.texts)


def test_an_llm_writes_within_a_budget_and_what_it_wrote_is_verified_and_kept(shop: Path) -> None:
    with serving(by_title) as server:
        configure(shop, server.address)
        place = ("-w", str(shop), "--llm", "--items", "4")
        told = build(*place, "--budget", "1", "--estimate")[1]
        assert told["estimate"]["questions"] == 4 and not server.bodies
        assert not written_file(shop).exists()
        code, told = build(*place, "--budget", "0")
        assert code == 1 and told["llm"]["state"] == "partial" and not server.bodies
        code, told = build(*place, "--budget", "1")
        assert code == 0 and len(server.bodies) == 4
        again = build(*place, "--budget", "1")[1]
        assert len(server.bodies) == 4 and again["llm"]["spent"] == told["llm"]["spent"]
    assert told["llm"]["dropped"] == {"only the title": 4, "written twice": 3}
    count = told["by_source"]["llm"]
    assert 0 < count <= 4
    assert told["dropped"]["unsafe"] == 4 and told["dropped"]["not answered"] >= 1
    workspace = Workspace.open(shop)
    with closing(workspace.open_store()) as store:
        snapshot = take_snapshot(store, workspace.settings.actions)
    catalogue = snapshot.catalogue
    kept = read_written_queries(workspace, catalogue)
    assert len(kept) == told["llm"]["written"] > count
    assert all(len(one.items) == 1 for one in kept)
    users = set(map(str, snapshot.users.ids))
    assert "u0" in users
    sent = {word for body in server.bodies for word in re.findall(r"\w+", json.dumps(body))}
    assert "tale" in sent and not sent & users
    written_file(shop).write_text("{")
    with pytest.raises(ArtefactError, match=r"written\.json is not readable"):
        read_written_queries(workspace, catalogue)
    written_file(shop).unlink()
    assert build(*place, "--budget", "0")[1]["by_source"]["llm"] == count


def test_what_was_written_stays_though_it_fell_or_less_is_asked_for(shop: Path) -> None:
    def kept() -> set[str]:
        with closing(workspace.open_store()) as store:
            return {one.text for one in read_written_queries(workspace, Catalogue(store.items()))}

    workspace = Workspace.open(shop)
    with serving(by_title) as server:
        configure(shop, server.address)
        place = ("-w", str(shop), "--llm", "--budget", "1")
        first = build(*place, "--items", "6")[1]
        everything = kept()
        assert len(everything) == first["llm"]["written"] and len(server.bodies) == 6
        assert build(*place, "--items", "2")[1]["by_source"]["llm"] == first["by_source"]["llm"]
        assert kept() == everything and len(server.bodies) == 6
    with closing(workspace.open_store()) as store:
        items = store.items()
        store.put_items([Item(one.item_id, "Zyzzyva", one.description) for one in items])
        assert suggested(shop) == 0
        assert kept() == everything
        store.put_items(items)
    assert suggested(shop) == first["by_source"]["llm"]


def test_choices_among_similar_items_are_in_the_log_that_is_learned_from(shop: Path) -> None:
    workspace = Workspace.open(shop)
    with closing(workspace.open_store()) as store:
        store.put_events([Event("u", "i3", 7.0, request_id="r", surface="similar")])
    assert JobContext(workspace).log.similar == {"u": [7.0]}


def test_an_llm_needs_a_budget(shop: Path) -> None:
    done = CliRunner().invoke(app, ["queries", "build", "-w", str(shop), "--llm"])
    assert done.exit_code != 0 and "budget" in str(done.exception)


def test_what_says_no_more_than_the_title_or_too_much_is_dropped() -> None:
    films = Catalogue([Item("a", "The Red Shoes")])
    texts = ["red shoe", "ballet\u202e tragedy", "x" * 70, "!!!"]
    answer = WrittenQueries(id="x", queries=texts)
    found, dropped = select_candidates([answer], [0], films)
    assert [one.text for one in found] == ["ballet tragedy"]
    assert dropped == {"only the title": 1, "empty or long": 2}


def test_an_address_or_odd_signs_never_become_a_suggestion() -> None:
    films = Catalogue([Item("a", "The Red Shoes")])
    texts = ["ballet at www.evil.example", "ballet https://evil.example", "ballet on evil.com"]
    texts += ["mail me@evil.example", "call 555-010-9999", "<b>ballet</b>", "ballet {title}"]
    answer = WrittenQueries(id="x", queries=texts)
    found, dropped = select_candidates([answer], [0], films)
    assert found == []
    assert dropped == {"an address or odd signs": len(texts)}
