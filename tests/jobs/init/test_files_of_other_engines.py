"""Files of Gorse, RecBole and UBI are recognised as they are."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from serendip.data.event import Event
from serendip.data.item import Item
from serendip.data.store.store import Store
from serendip.data.user import User
from serendip.engine.workspace import Workspace
from serendip.jobs.export_data import export
from serendip.jobs.import_files import import_files
from serendip.jobs.init.workspace import start_workspace
from serendip.runtime.progress import SilentProgress

EVENTS = [
    Event("u", "a", 1_700_000_000.0, "click"),
    Event("v", "b", 1_700_000_001.5, "rate", 4.5),
    Event("u", "b", 1_700_000_002.0, "click"),
]


def read(folder: Path, items: Path, events: Path, users: Path | None = None) -> Workspace:
    start_workspace(folder, items, events, False, users=users)
    workspace = Workspace.open(folder)
    import_files(workspace)
    return workspace


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "serendip.toml").write_text("")
    items = [Item("a", "Green tea", "", {"price": 2.5}), Item("b", "Black tea", "", {"price": 3.0})]
    with closing(Store.create(folder / "serendip.db")) as store:
        store.put_items(items)
        store.put_events(EVENTS)
        store.users.put(User("u", {"plan": "paid"}))
    return Workspace.open(folder)


@pytest.mark.parametrize(
    ("name", "files", "price"),
    [
        ("gorse", ("items.jsonl", "feedback.jsonl", "users.jsonl"), "Labels.price"),
        ("recbole", ("data.item", "data.inter", "data.user"), "price:float"),
    ],
)
def test_exports_for_other_engines_come_back(
    shop: Workspace, tmp_path: Path, name: str, files: tuple[str, str, str], price: str
) -> None:
    export(shop, tmp_path / "out", name, SilentProgress())
    items, events, users = (tmp_path / "out" / file for file in files)
    workspace = read(tmp_path / "again", items, events, users)
    with closing(workspace.open_store()) as store:
        assert [(item.item_id, item.title) for item in store.items()] == [
            *(("a", "Green tea"), ("b", "Black tea")),
        ]
        assert [item.attributes[price] for item in store.items()] == [2.5, 3.0]
        assert [event.item_id for event in store.history("u", 9)] == ["a", "b"]
        (event,) = store.history("v", 9)
        assert (event.action, event.value, event.timestamp) == ("rate", 4.5, 1_700_000_001.5)
        assert "paid" in store.users.all()[0].attributes.values()


def test_events_of_user_behaviour_insights_are_read(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\na,Green tea\nb,Black tea\n")
    event = {
        "action_name": "click",
        "client_id": "u",
        "query_id": "q1",
        "user_query": "tea",
        "timestamp": "2023-11-14T22:13:20Z",
        "event_attributes": {
            "object": {"object_id": "b", "object_id_field": "sku"},
            "position": {"ordinal": 3},
        },
    }
    (tmp_path / "ubi_events.ndjson").write_text(json.dumps(event) + "\n")
    workspace = read(tmp_path / "shop", tmp_path / "items.csv", tmp_path / "ubi_events.ndjson")
    with closing(workspace.open_store()) as store:
        (found,) = store.history("u", 9)
    assert (found.item_id, found.timestamp, found.request_id) == ("b", 1_700_000_000.0, "q1")
    assert (found.query, found.position, found.action) == ("tea", 3, "click")
