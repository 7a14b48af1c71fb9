"""The labelling page in a real Chromium: by keyboard, killed and gone on with, hostile texts."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from small_shop import import_shop

from serendip.data.items.catalogue import Item
from serendip.engine.workspace import Workspace

pytestmark = pytest.mark.browser

PAIRS = [("a horror tale", f"i{number}") for number in range(5)]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    import_shop(tmp_path)
    write_pairs(tmp_path, PAIRS)
    return tmp_path


def write_pairs(shop: Path, pairs: list[tuple[str, str]]) -> None:
    with (shop / "pairs.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("query", "item_id"), *pairs])


@contextmanager
def labelling(shop: Path, name: str, *more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command in a process of its own, and its address."""
    command = [sys.executable, "-m", "serendip", "judge", "label", "-w", str(shop), "--port", "0"]
    files = ["--pairs", str(shop / "pairs.csv"), "--out", str(shop / f"{name}.csv")]
    arguments = [*command, *files, "--name", name, *more]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[1], process
        finally:
            process.kill()


def rows_of(shop: Path, name: str) -> list[tuple[str, str]]:
    with (shop / f"{name}.csv").open(newline="") as stream:
        return [(row["item_id"], row["label"]) for row in csv.DictReader(stream)]


def shows(page: Any, title: str, done: int) -> None:
    """Wait for a pair; the page tells it with what is done."""
    page.get_by_role("heading", level=2, name=title).wait_for()
    assert page.locator("#progress").inner_text() == f"{done} of 5 labelled"


def test_pairs_are_labelled_by_keyboard_through_a_kill(shop: Path, open_page: Any) -> None:
    with labelling(shop, "ANN") as (address, process):
        page = open_page(address)
        assert page.get_by_role("heading", level=1).inner_text() == "a horror tale"
        shows(page, "The horror tale number 0", 0)
        page.keyboard.press("g")
        shows(page, "The comedy tale number 1", 1)
        assert rows_of(shop, "ANN") == [("i0", "good")]  # It is there before the next is shown.
        page.keyboard.press("s")
        shows(page, "The western tale number 2", 1)
        page.keyboard.press("b")
        shows(page, "The horror tale number 3", 2)
        page.keyboard.press("x")  # No key of the page.
        page.keyboard.press("b")
        shows(page, "The comedy tale number 4", 3)
        page.keyboard.press("u")
        shows(page, "The horror tale number 3", 2)
        assert rows_of(shop, "ANN") == [("i0", "good"), ("i2", "bad")]
        process.kill()
        process.wait()
    with labelling(shop, "ANN") as (address, process):
        page = open_page(address)
        shows(page, "The comedy tale number 1", 2)  # What was put off has its old place again.
        page.keyboard.press("b")
        shows(page, "The horror tale number 3", 3)
        page.keyboard.press("g")
        shows(page, "The comedy tale number 4", 4)
        page.keyboard.press("b")
        page.get_by_role("heading", level=1, name="All pairs are labelled").wait_for()
        page.keyboard.press("u")
        shows(page, "The comedy tale number 4", 4)
        process.terminate()
        assert process.wait(20) == 0
        assert process.stdout is not None
        assert process.stdout.read() == f"4 of 5 pairs in {shop / 'ANN.csv'}, 2 bad\n"
    expected = [("i0", "good"), ("i2", "bad"), ("i1", "bad"), ("i3", "good")]
    assert rows_of(shop, "ANN") == expected


def test_agreement_with_others_is_shown_and_told(shop: Path, open_page: Any) -> None:
    others = ["--other", str(shop / "BEN.csv")]
    with labelling(shop, "ANN", *others) as (address, _):
        page = open_page(address)
        for done in range(4):
            shows(page, f"tale number {done}", done)
            page.keyboard.press("gbbg"[done])
        shows(page, "The comedy tale number 4", 4)
        assert "0 pairs in common: too early to say" in page.locator(".desk-agreed").inner_text()
        with labelling(shop, "BEN") as (second, _):
            other = open_page(second, 390)
            for done in range(4):
                shows(other, f"tale number {done}", done)
                other.get_by_role(
                    "button", name=["Good g", "Bad b", "Good g", "Good g"][done]
                ).click()
            shows(other, "The comedy tale number 4", 4)
        page.reload()
        assert "BEN\nkappa 0.50" in page.locator(".desk-agreed").inner_text()
    files = ["--labels", str(shop / "ANN.csv"), "--labels", str(shop / "BEN.csv")]
    (row,) = invoke("judge", "agreement", *files)[1]["agreements"]
    assert (row["pairs"], row["queries"], row["agreed"], row["kappa"]) == (4, 1, 0.75, 0.5)


def test_hostile_texts_are_only_ever_text(
    shop: Path, open_page: Any, hostile_texts: list[str]
) -> None:
    items = [
        Item(f"x{number}", f"Evil {payload}", payload, {payload.replace(" ", ""): payload})
        for number, payload in enumerate(hostile_texts)
    ]
    with closing(Workspace.open(shop).open_store()) as store:
        store.put_items(items)
    write_pairs(shop, [(payload, f"x{number}") for number, payload in enumerate(hostile_texts)])
    with labelling(shop, "<i>EVE") as (address, _):
        page = open_page(address)
        for payload in hostile_texts:
            page.get_by_role("heading", level=2, name=f"Evil {payload}", exact=True).wait_for()
            assert page.get_by_role("heading", level=1).inner_text() == payload
            assert page.locator("script").count() == 1
            page.keyboard.press("b")
        page.get_by_role("heading", level=1, name="All pairs are labelled").wait_for()


def test_the_page_works_without_scripts_and_on_a_phone(shop: Path, open_page: Any) -> None:
    with labelling(shop, "ANN") as (address, _):
        page = open_page(address, 320, java_script_enabled=False)
        for button in page.get_by_role("button").all():
            assert button.bounding_box()["height"] >= 44
        assert page.locator("main").evaluate("main => main.scrollWidth") <= 320
        page.get_by_role("button", name="Good g").click()
        shows(page, "The comedy tale number 1", 1)
        page.get_by_role("button", name="Undo").click()
        shows(page, "The horror tale number 0", 0)
    assert rows_of(shop, "ANN") == []
