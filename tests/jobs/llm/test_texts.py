"""Written texts over the commands: written, gated, used by the next training, taken back."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from small_shop import NUM_ITEMS

from serendip.data import Event, Item
from serendip.data.snapshot import take_snapshot
from serendip.data.store.tables.generated import Generated, text_digest
from serendip.engine.workspace import Workspace
from serendip.errors import DataError


@pytest.fixture
def shop(fresh: Path) -> Path:
    return fresh


def llm(folder: Path, verb: str, *more: str) -> tuple[int, dict[str, Any]]:
    kind = () if verb == "show" else ("texts",)
    return invoke("llm", verb, *kind, "-w", str(folder), *more)


def items_of(folder: Path) -> list[Item]:
    with Workspace.open(folder).open_store() as store:
        return store.items()


def written_of(folder: Path) -> list[Generated]:
    with Workspace.open(folder).open_store() as store:
        return store.generated.rows("text")


def used_by(folder: Path) -> dict[str, str]:
    """Item -> text that the next training reads."""
    workspace = Workspace.open(folder)
    with workspace.open_store() as store:
        items = take_snapshot(store, workspace.settings.actions).catalogue.items
    return {item.item_id: item.generated_text for item in items if item.generated_text}


def put(folder: Path, texts: Sequence[str]) -> None:
    """Keywords of the first items, as an LLM might have written them."""
    rows = [
        Generated(
            *("text", item.item_id, "keywords", "llm"),
            *(text, "m", "enrich-1", text_digest(item)),
        )
        for item, text in zip(items_of(folder), texts, strict=False)
    ]
    with Workspace.open(folder).open_store() as store:
        store.generated.put(rows)


def judge(folder: Path, queries: Sequence[str]) -> str:
    """The nth query wants the nth item."""
    path = folder / "judged.csv"
    with path.open("w", newline="") as stream:
        rows = [(query, f"i{number}", "E") for number, query in enumerate(queries)]
        csv.writer(stream).writerows([("query", "item_id", "label"), *rows])
    return str(path)


NAMES = [f"zq{chr(97 + number // 26)}{chr(97 + number % 26)}x" for number in range(NUM_ITEMS)]
"""What people call the items, and no title says."""


def log_searches(folder: Path, rows: Sequence[tuple[str, str, str, float]]) -> None:
    """(user, query, item, time)."""
    events = [
        Event(user, item, when, "click", query=query, surface="search")
        for user, query, item, when in rows
    ]
    with Workspace.open(folder).open_store() as store:
        store.put_events(events)


def test_texts_that_help_pass_the_gate_and_others_do_not(shop: Path) -> None:
    with pytest.raises(DataError, match="there are no texts for the current items"):
        llm(shop, "gate")
    put(shop, NAMES)
    code, few = llm(shop, "gate", "--judgements", judge(shop, NAMES[:5]))
    assert (code, few["verdict"], few["active"]) == (1, "refused", 0)
    asked = judge(shop, NAMES)
    code, found = llm(shop, "gate", "--judgements", asked)
    assert (code, found["verdict"], found["active"]) == (0, "passed", NUM_ITEMS)
    assert found["low"] > 0
    assert used_by(shop) == {f"i{n}": name for n, name in enumerate(NAMES)}
    put(shop, NAMES[30:] + NAMES[:29])  # Of other items each.
    assert len(used_by(shop)) == 1
    code, worse = llm(shop, "gate", "--judgements", asked)
    assert (code, worse["verdict"], worse["active"]) == (1, "failed", 0)
    assert used_by(shop) == {}


def test_a_gate_without_judgements_asks_what_was_never_typed_before(shop: Path) -> None:
    early, late = 1_599_000_000.0, 1_700_000_000.0
    known = [("a", name, f"i{n}", early) for n, name in enumerate(NAMES[:10])]
    new = [("b", name, f"i{n}", late) for n, name in enumerate(NAMES)]
    log_searches(shop, [*known, *new])
    put(shop, NAMES)
    _, found = llm(shop, "gate")
    assert (found["queries"], found["verdict"]) == (NUM_ITEMS - 10, "passed")
