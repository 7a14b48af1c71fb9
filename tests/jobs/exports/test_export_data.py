from pathlib import Path

import pytest

from serendip.data import Event, Item
from serendip.data.store.store import Store
from serendip.data.users.user import User
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.jobs.exports.export import FORMATS, export
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
    with Store.create(folder / "serendip.db") as store:
        store.put_items(ITEMS)
        store.put_events(EVENTS[:2])
        store.pack()
        store.put_events(EVENTS[2:])
        for user in USERS:
            store.users.put(user)
    return Workspace.open(folder)


@pytest.mark.parametrize("name", ["parquet", "jsonl"])
def test_an_import_of_an_open_format_makes_the_same_again(
    workspace: Workspace, tmp_path: Path, name: str
) -> None:
    summary = export(workspace, tmp_path / "out", name, SilentProgress())
    assert (summary["items"], summary["users"], summary["events"]) == (3, 2, 4)
    import_files(Workspace.open(tmp_path / "out"))
    with (
        workspace.open_store() as before,
        Workspace.open(tmp_path / "out").open_store() as after,
    ):
        assert after.items() == before.items() == ITEMS
        assert after.users.all() == before.users.all() == USERS
        assert after.tables().events.to_pylist() == before.tables().events.to_pylist()
        for user in "uvw":
            assert after.log.history(user, 9) == before.log.history(user, 9)
        assert after.log.requested(9) == before.log.requested(9)


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_workspace_can_be_exported(tmp_path: Path, name: str) -> None:
    (tmp_path / "serendip.toml").write_text("")
    with Store.create(tmp_path / "serendip.db"):
        pass
    summary = export(Workspace.open(tmp_path), tmp_path / "out", name, SilentProgress())
    assert (summary["items"], summary["events"]) == (0, 0)


def test_what_is_there_is_not_overwritten(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not empty"):
        export(workspace, workspace.folder, "jsonl", SilentProgress())
    with pytest.raises(ConfigError, match="format 'xml' is unknown"):
        export(workspace, tmp_path / "out", "xml", SilentProgress())
