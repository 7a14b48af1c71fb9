"""Exports: open formats are imported as they were, others have what their engines read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.store.store import Store
from serendip.data.users.user import User
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.jobs.exchange.export import FORMATS, export
from serendip.jobs.import_files import import_files
from serendip.runtime.progress import SilentProgress

ITEMS = [
    Item("b 1", 'Tëa, "green"\tand | more', "Two\nlines", {"price": 2.5, "tags": ("a|b", "c")}),
    Item("a2", "", "", {"brand": "ACME | Co", "tags": ("d",)}, available_from=1.7e9),
    Item("c3", "Plain"),
]
EVENTS = [
    Event("u", "b 1", 5.25, "click", request_id="r1", position=3, surface="home"),
    Event("v", "a2", 5.25, "rate", 4.5, country="Spain", device="phone", session_id="s"),
    Event("u", "", 4.0, "search", query="tea, green"),
    Event("u", "c3", 9.0, "impression", event_id="e1", propensity=0.25),
]
USERS = [User("u", {"plan": "paid", "age": 30.0}), User("w", {"country": "Spain"})]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "serendip.toml").write_text("")
    with closing(Store.create(folder / "serendip.db")) as store:
        store.put_items(ITEMS)
        store.put_events(EVENTS[:2])
        store.compact()
        store.put_events(EVENTS[2:])
        for user in USERS:
            store.users.put(user)
    return Workspace.open(folder)


def lines(path: Path) -> Iterator[Any]:
    return map(json.loads, path.read_text().splitlines())


@pytest.mark.parametrize("name", ["parquet", "jsonl"])
def test_an_import_of_an_open_format_makes_the_same_again(
    workspace: Workspace, tmp_path: Path, name: str
) -> None:
    summary = export(workspace, tmp_path / "out", name, SilentProgress())
    assert (summary["items"], summary["users"], summary["events"]) == (3, 2, 4)
    import_files(Workspace.open(tmp_path / "out"))
    with (
        closing(workspace.open_store()) as before,
        closing(Workspace.open(tmp_path / "out").open_store()) as after,
    ):
        assert after.items() == before.items() == ITEMS
        assert after.users.all() == before.users.all() == USERS
        assert after.tables().events.to_pylist() == before.tables().events.to_pylist()
        for user in "uvw":
            assert after.history(user, 9) == before.history(user, 9)
        assert after.requested(9) == before.requested(9)


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_workspace_can_be_exported(tmp_path: Path, name: str) -> None:
    (tmp_path / "serendip.toml").write_text("")
    with closing(Store.create(tmp_path / "serendip.db")):
        pass
    summary = export(Workspace.open(tmp_path), tmp_path / "out", name, SilentProgress())
    assert (summary["items"], summary["events"]) == (0, 0)


def test_gorse_reads_users_items_and_feedback(workspace: Workspace, tmp_path: Path) -> None:
    export(workspace, tmp_path / "out", "gorse", SilentProgress())
    item = next(lines(tmp_path / "out" / "items.jsonl"))
    assert (item["ItemId"], item["IsHidden"]) == ("b 1", False)
    assert item["Labels"]["tags"] == ["a|b", "c"]
    assert list(lines(tmp_path / "out" / "users.jsonl"))[1] == {
        "UserId": "w",
        "Labels": {"country": "Spain"},
        "Comment": "",
    }
    feedback = list(lines(tmp_path / "out" / "feedback.jsonl"))
    assert [row["ItemId"] for row in feedback] == ["b 1", "a2", "c3"]
    assert feedback[1] == {
        "FeedbackType": "rate",
        "UserId": "v",
        "ItemId": "a2",
        "Value": 4.5,
        "Timestamp": "1970-01-01T00:00:05.250000+00:00",
    }


def test_recbole_reads_tabs_and_typed_headers(workspace: Workspace, tmp_path: Path) -> None:
    export(workspace, tmp_path / "out", "recbole", SilentProgress())

    def rows(name: str) -> list[list[str]]:
        text = (tmp_path / "out" / name).read_text()
        return [line.split("\t") for line in text.splitlines()]

    header = ["user_id:token", "item_id:token", "action:token", "timestamp:float", "rating:float"]
    assert rows("data.inter") == [
        header,
        ["u", "b 1", "click", "5.25", ""],
        ["v", "a2", "rate", "5.25", "4.5"],
        ["u", "c3", "impression", "9.0", ""],
    ]
    items = rows("data.item")
    assert items[0] == [
        *("item_id:token", "title:token_seq", "price:float", "tags:token_seq", "brand:token"),
    ]
    assert items[1] == ["b 1", 'Tëa, "green" and | more', "2.5", "a|b c", ""]
    assert rows("data.user")[0] == ["user_id:token", "plan:token", "age:float", "country:token"]


def test_opensearch_reads_bulk_requests(workspace: Workspace, tmp_path: Path) -> None:
    export(workspace, tmp_path / "out", "opensearch", SilentProgress())
    first, document, *_ = lines(tmp_path / "out" / "items.ndjson")
    assert first == {"index": {"_id": "b 1"}}
    assert (document["item_id"], document["price"], document["tags"]) == ("b 1", 2.5, ["a|b", "c"])


def test_what_is_there_is_not_overwritten(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not empty"):
        export(workspace, workspace.folder, "jsonl", SilentProgress())
    with pytest.raises(ConfigError, match="format 'xml' is unknown"):
        export(workspace, tmp_path / "out", "xml", SilentProgress())
