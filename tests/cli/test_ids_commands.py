from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from stand import train
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data.items.catalogue import Item
from serendip.engine.workspace import Workspace


def ids(shop: Path, *arguments: str) -> dict[str, Any]:
    """The JSON document of ``serendip ids ...``; its error where it fails."""
    code, document = invoke("ids", *arguments, "-w", str(shop))
    assert code == 0
    return document


@pytest.fixture
def changed(stand: Path) -> Path:
    """A stand with an item whose id looks like a prefix of codes."""
    with closing(Workspace.open(stand).open_store()) as store:
        store.put_items([Item("0", "The horror tale")])
    train(stand)
    return stand


def test_a_group_has_its_members_and_a_name(stand: Path) -> None:
    item = ids(stand, "show", "i0")
    first, *_, last = item["groups"]
    assert item["id"] == last["prefix"] and first["prefix"] == str(item["codes"][0])
    assert "horror" in first["name"].casefold()
    group = ids(stand, "show", last["prefix"] + "-")
    assert group["members"] == last["items"]
    assert (group["num_groups"], group["groups"]) == (0, [])
    assert "i0" in {one["item_id"] for one in group["items"]}
    assert group["items"][0]["title"].startswith("The horror tale")
    assert group["name"].startswith(first["name"])


def test_a_group_is_told_with_the_groups_in_it(stand: Path) -> None:
    group = ids(stand, "show", "0-")
    parts = group["groups"]
    assert sum(part["items"] for part in parts) == group["members"]
    assert group["num_groups"] == len(parts)
    assert [part["items"] for part in parts] == sorted((p["items"] for p in parts), reverse=True)
    assert ids(stand, "show", parts[0]["prefix"] + "-")["members"] == parts[0]["items"]


def test_an_id_that_looks_like_a_prefix_is_the_item(changed: Path) -> None:
    assert ids(changed, "show", "0")["item_id"] == "0"  # it looks like a prefix
    assert ids(changed, "show", "0-")["prefix"] == "0"


def test_people_read_lines(stand: Path) -> None:
    for arguments, words in (
        (["show", "i0"], "i0  The horror tale number 0"),
        (["show", "0-"], "items  "),
    ):
        done = CliRunner().invoke(app, ["ids", *arguments, "-w", str(stand)])
        assert done.exit_code == 0, done.output
        assert words in done.stdout
