"""``serendip synonyms``: proposed from the log and from vectors, reviewed, searched."""

from __future__ import annotations

from contextlib import closing
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


def test_pairs_are_proposed_once_reviewed_and_kept(shop: Path) -> None:
    first = synonyms(shop, "build")
    assert first["new"] == first["states"]["proposed"] > 0
    log = [row for row in synonyms(shop, "show")["pairs"] if row["source"] == "log"]
    assert {(row["term"], row["also"]) for row in log} == {("funny", "laughs"), ("laughs", "funny")}
    table = (shop / "synonyms.csv").read_text()
    assert not [text for text in ("secret", "chuckle", "fun,", "example") if text in table]

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
    assert "no synonym is proposed" in str(done.exception)


def test_neither_a_build_nor_a_decision_overwrites_what_another_process_writes(shop: Path) -> None:
    synonyms(shop, "build")
    before = (shop / "synonyms.csv").read_text()
    with exclusive_lock(shop):
        for arguments in (["build"], ["accept", "funny", "laughs"]):
            done = CliRunner().invoke(app, ["synonyms", *arguments, "-w", str(shop)])
            assert "another process is writing" in str(done.exception)
    assert (shop / "synonyms.csv").read_text() == before
    assert synonyms(shop, "accept", "funny", "laughs")["changed"] == [["funny", "laughs"]]


def test_a_term_that_is_too_long_is_refused(shop: Path) -> None:
    done = CliRunner().invoke(app, ["synonyms", "accept", "a b c d", "e", "-w", str(shop)])
    assert "'a b c d' has 4 words, more than 3" in str(done.exception)
    assert not (shop / "synonyms.csv").exists()
