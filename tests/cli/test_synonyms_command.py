"""``serendip synonyms``: proposed from the log and from vectors, reviewed, searched."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from small_shop import write_files
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data.event import Event
from serendip.engine.workspace import Workspace
from serendip.workflow.importing import import_files


def synonyms(shop: Path, *arguments: str) -> dict[str, Any]:
    """The JSON document of ``serendip synonyms ...``."""
    done = CliRunner().invoke(app, ["synonyms", *arguments, "-w", str(shop), "--json"])
    assert done.exception is None, done.exception
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    write_files(folder)
    workspace = Workspace.open(folder)
    import_files(workspace)
    events = [
        Event(f"s{user}", f"i{item}", 1e9 + user, "click", query=text)
        for user in range(3)
        for item in (1, 4)
        for text in ("funny", "laughs")
    ]
    alone = [Event("s9", f"i{item}", 1e9, "click", query="my secret") for item in (1, 4)]
    with closing(workspace.open_store()) as store:
        store.put_events([*events, *alone])
    return folder


def test_pairs_are_proposed_once_reviewed_and_kept(shop: Path) -> None:
    first = synonyms(shop, "build")
    assert first["new"] == first["states"]["proposed"] > 0
    log = [row for row in synonyms(shop, "show")["pairs"] if row["source"] == "log"]
    assert {(row["term"], row["also"]) for row in log} == {("funny", "laughs"), ("laughs", "funny")}
    assert "secret" not in (shop / "synonyms.csv").read_text()

    assert synonyms(shop, "accept", "Funny", "laughs")["changed"] == [["funny", "laughs"]]
    assert synonyms(shop, "reject", "laughs")["changed"] == [["laughs", "funny"]]
    again = synonyms(shop, "build")
    assert again["new"] == 0
    assert again["states"]["accepted"] == again["states"]["rejected"] == 1
    shown = synonyms(shop, "show", "funny", "--state", "accepted")
    assert shown["total"] == 1


def test_what_is_not_proposed_cannot_be_accepted_by_its_term_alone(shop: Path) -> None:
    done = CliRunner().invoke(app, ["synonyms", "accept", "nothing", "-w", str(shop)])
    assert done.exception is not None
    assert "nothing is proposed" in str(done.exception)
