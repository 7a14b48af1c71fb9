"""``serendip synonyms``: proposed from the log and from vectors, reviewed, searched."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from small_shop import import_shop
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data.events.event import Event
from serendip.data.events.search_log import SUGGESTED
from serendip.data.privacy import VISITOR
from serendip.engine.workspace import Workspace
from serendip.runtime.atomic_files import exclusive_lock
from serendip.search.synonyms import read_synonyms, write_synonyms


def synonyms(shop: Path, *arguments: str) -> dict[str, Any]:
    """The JSON document of ``serendip synonyms ...``."""
    code, document = invoke("synonyms", *arguments, "-w", str(shop))
    assert code == 0
    return document


@pytest.fixture
def shop(tmp_path: Path) -> Path:
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
    with closing(workspace.open_store()) as store:
        store.put_events([*events, *more])
    return folder


def test_pairs_are_proposed_once_reviewed_in_the_file_and_kept(shop: Path) -> None:
    first, path = synonyms(shop, "build"), shop / "synonyms.csv"
    assert first["new"] == first["states"]["proposed"] > 0
    rows = read_synonyms(path)
    log = {row.key for row in rows if row.source == "log"}
    assert log == {("funny", "laughs"), ("laughs", "funny")}
    table = path.read_text()
    assert not [text for text in ("secret", "chuckle", "fun,", "example") if text in table]

    states = {("funny", "laughs"): "accepted", ("laughs", "funny"): "rejected"}
    reviewed = [replace(row, state=states.get(row.key, row.state)) for row in rows]
    write_synonyms(path, reviewed)
    again = synonyms(shop, "build")
    assert again["new"] == 0
    assert again["states"]["accepted"] == again["states"]["rejected"] == 1
    assert {row.key: row.state for row in read_synonyms(path)}.items() >= states.items()


def test_a_build_does_not_overwrite_what_another_process_writes(shop: Path) -> None:
    synonyms(shop, "build")
    before = (shop / "synonyms.csv").read_text()
    with exclusive_lock(shop):
        done = CliRunner().invoke(app, ["synonyms", "build", "-w", str(shop)])
        assert "another process is writing" in str(done.exception)
    assert (shop / "synonyms.csv").read_text() == before
