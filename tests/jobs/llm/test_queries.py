"""Queries that an LLM wrote: within a budget, verified, gated, suggested, taken back."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from fault_server import Body, Reply, completion, configure, data_of, serving

from serendip.data.items.catalogue import Catalogue, Item
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError
from serendip.jobs.context import JobContext
from serendip.jobs.llm.search_words import select_queries
from serendip.jobs.suggestions.build import compute_queries, read_written_queries
from serendip.llm.tasks import WrittenQueries


@pytest.fixture
def shop(fresh: Path) -> Path:
    return fresh


def llm(folder: Path, verb: str, *more: str) -> tuple[int, dict[str, Any]]:
    return invoke("llm", verb, "queries", "-w", str(folder), *more)


def suggested(folder: Path) -> int:
    """Number of suggestions of a training that an LLM wrote."""
    context = JobContext.open(folder)
    written = read_written_queries(context.workspace, context.dataset.catalogue)
    return int(compute_queries(context, written)[1]["by_source"].get("llm", 0))


def by_title(body: Body, number: int) -> Reply:
    """One that finds its item, one that is its title, one about nothing here, an unsafe one."""
    data = data_of(body)
    title = data["item"]["title"]
    queries = [f"a {title.split(' ', 1)[1]} please", title, "quantum zebra", f"porn {title}"]
    return completion(json.dumps({"id": data["id"], "queries": queries}))


def test_an_llm_writes_within_a_budget_and_what_finds_its_item_is_suggested(shop: Path) -> None:
    with pytest.raises(DataError, match="there are no queries for the current items"):
        llm(shop, "gate")
    with serving(by_title) as server:
        configure(shop, server.address)
        place = ("run", "--most", "12")
        told = llm(shop, *place, "--estimate")[1]
        assert told["estimate"]["questions"] == 12 and not server.bodies
        code, told = llm(shop, *place, "--budget", "0")
        assert code == 1 and told["state"] == "partial" and not server.bodies
        code, told = llm(shop, *place, "--budget", "1")
        assert code == 0 and len(server.bodies) == 12
        again = llm(shop, *place, "--budget", "1")[1]
        assert len(server.bodies) == 12 and again["spent"] == told["spent"]
    assert told["dropped"] == {"only the title": 12, "written twice": 11}
    assert suggested(shop) == 0
    code, gated = llm(shop, "gate")
    assert (code, gated["verdict"], gated["queries"]) == (0, "passed", told["written"])
    count = gated["found"]
    assert 0 < count <= 12 and count == suggested(shop) < gated["active"] == told["written"]
    sent = {word for body in server.bodies for word in re.findall(r"\w+", json.dumps(body))}
    assert "tale" in sent and not sent & {f"u{number}" for number in range(45)}

    workspace = Workspace.open(shop)
    with workspace.open_store() as store:
        items = store.items()
        store.put_items([Item(one.item_id, "Zyzzyva", one.description) for one in items])
        assert suggested(shop) == 0
        kept = read_written_queries(workspace, Catalogue(store.items()))
        assert len(kept) == told["written"]  # They are used again once search finds their item.
        store.put_items(items)
    assert suggested(shop) == count
    assert llm(shop, "run", "--most", "2", "--budget", "1")[0] == 0
    assert suggested(shop) == count  # Fewer are asked for, all stay in use.
    assert llm(shop, "revert")[1]["removed"] == told["written"]
    assert suggested(shop) == 0


def test_what_says_no_more_than_the_title_or_too_much_is_dropped() -> None:
    films = Catalogue([Item("a", "The Red Shoes")])
    texts = ["red shoe", "ballet\u202e tragedy", "x" * 70, "!!!"]
    answer = WrittenQueries(id="x", queries=texts)
    found, dropped = select_queries([answer], [0], films)
    assert found == {"ballet tragedy": 0}
    assert dropped == {"only the title": 1, "empty or long": 2}


def test_an_address_or_odd_signs_never_become_a_suggestion() -> None:
    films = Catalogue([Item("a", "The Red Shoes")])
    texts = ["ballet at www.evil.example", "ballet https://evil.example", "ballet on evil.com"]
    texts += ["mail me@evil.example", "call 555-010-9999", "<b>ballet</b>", "ballet {title}"]
    answer = WrittenQueries(id="x", queries=texts)
    found, dropped = select_queries([answer], [0], films)
    assert found == {}
    assert dropped == {"an address or odd signs": len(texts)}


def test_an_llm_is_asked_within_a_budget_alone(shop: Path) -> None:
    before = sorted(path.name for path in shop.iterdir())
    for kind in ("labels", "queries", "texts", "synonyms"):
        with pytest.raises(ConfigError, match="an LLM needs a budget"):
            invoke("llm", "run", kind, "-w", str(shop))
    with pytest.raises(ConfigError, match="no LLM is configured"):
        invoke("llm", "run", "queries", "--estimate", "-w", str(shop))
    with pytest.raises(ConfigError, match="only an LLM writes queries"):
        invoke("llm", "run", "queries", "--free", "-w", str(shop))
    with pytest.raises(ConfigError, match="labels need two files"):
        invoke("llm", "run", "labels", "--budget", "1", "-w", str(shop))
    assert sorted(path.name for path in shop.iterdir()) == before
