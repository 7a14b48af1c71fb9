import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

import pytest
from object_stores import s3_server
from postgres_server import PostgresServer, move_to_server
from processes import Client, serving, wait_until
from stand import publish_with

from serendip.engine.workspace import Workspace

EVERY_S = 0.02
PATIENCE = '\n[serve]\ndeadline = "60s"\n'
"""So that no answer is one from less because the machine of the tests is busy."""

PATHS = (
    "/v1/recommend?surface=home&user_id=u3&limit=20",
    "/v1/recommend?surface=home&limit=20",
    "/v1/search?q=horror+tale&limit=20",
    "/v1/search?q=comedy&user_id=u7&limit=20",
    "/v1/items/i7/similar?limit=20",
)


class Machine(Client):
    @classmethod
    def start(cls, folder: Path, stack: ExitStack) -> Self:
        return cls(stack.enter_context(serving(folder))[0].connection)

    def answers(self) -> list[Any]:
        """What it answers to several requests, without their ids."""
        found = [self.read(path) for path in PATHS]
        assert all(answer["items"] for answer in found)
        return [{**answer, "request_id": ""} for answer in found]

    def until(self, is_so: Callable[[Self], object], what: str) -> None:
        wait_until(lambda: is_so(self), what, every_s=EVERY_S)


@pytest.fixture
def folders(
    shop: Path, tmp_path: Path, postgres_server: PostgresServer
) -> Iterator[tuple[Path, Path]]:
    """A machine that has moved all it has to a server and a bucket, and one with its settings."""
    with s3_server() as url:
        move_to_server(shop, postgres_server.empty_url())
        with (shop / "serendip.toml").open("a") as settings:
            settings.write(f'\n[storage]\nurl = "{url}"\n{PATIENCE}')
        publish_with(shop)
        with closing(Workspace.open(shop).open_store()) as store:
            store.pack()
        (tmp_path / "other").mkdir()
        shutil.copyfile(shop / "serendip.toml", tmp_path / "other" / "serendip.toml")
        yield shop, tmp_path / "other"


def test_machines_over_a_server_and_a_bucket_answer_alike(folders: tuple[Path, Path]) -> None:
    with ExitStack() as stack:
        one, other = (Machine.start(folder, stack) for folder in folders)
        assert one.answers() == other.answers()
        assert one.read("/health/ready")["generation"] == "gen-2"
        _write_items(one, other)
        _write_events(one, other)
        _publish(folders[1], (one, other))
        assert one.answers() == other.answers()


def _write_items(one: Machine, other: Machine) -> None:
    """What is posted or deleted on one machine is found or gone on the other one."""
    item, search = "/v1/items/shared", "/v1/search?q=zebra+quartet"
    one.write("POST", "/v1/items", {"item_id": "shared", "title": "Zebra quartet"})
    other.until(lambda machine: machine.status(item) == 200, "the posted item")
    assert other.ids(search)[0] == "shared"
    other.write("DELETE", "/v1/items/shared")
    one.until(lambda machine: machine.status(item) == 404, "the deletion")
    assert "shared" not in one.ids(search)
    one.write("DELETE", "/v1/items/i9")
    other.until(lambda machine: machine.status("/v1/items/i9") == 404, "the other deletion")


def _write_events(one: Machine, other: Machine) -> None:
    """What a user does on one machine is in the next answer of the other one."""
    home, past = "/v1/recommend?surface=home&user_id=both&limit=60", "/v1/users/both/history"
    for number, (writer, reader) in enumerate([(one, other), (other, one)] * 2):
        chosen = reader.ids(home)[0]
        event = {"user_id": "both", "item_id": chosen, "action": "like"}
        assert writer.write("POST", "/v1/events", event) == {"received": 1, "new": 1}
        assert len(reader.read(past)["events"]) == number + 1
        assert chosen not in reader.ids(home)
    one.write("DELETE", "/v1/users/both")
    assert other.read(past)["events"] == []


def _publish(folder: Path, machines: tuple[Machine, Machine]) -> None:
    publish_with(folder)
    for machine in machines:
        machine.until(lambda one: one.read(PATHS[0])["generation"] == "gen-3", "the swap")
