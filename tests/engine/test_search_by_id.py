"""An id that is typed as a search finds its item: codes of parts, numbers of articles."""

from __future__ import annotations

import pytest

from serendip.data.item import Item
from serendip.engine.engine import Engine
from serendip.engine.request import Request


@pytest.fixture
def parts(engine: Engine) -> Engine:
    """A shop with parts whose codes are in no text."""
    engine.add_items(
        [
            Item("SK-M8x40-A2", "Hexagon bolt", "of stainless steel"),
            Item("SK-M8x45-A2", "Hexagon bolt, longer", "of stainless steel"),
            Item("OR-20X1,5", "Sealing ring"),
            Item("4711", "Flat washer"),
            Item("1999", "Spring washer"),
            Item("2001", "Lock nut"),
            Item("n7", "The party of 1999"),
            Item("n8", "2001"),
        ]
    )
    return engine


def first(engine: Engine, text: str, **parameters: object) -> str:
    return next(iter(item.item_id for item in engine.search(text, **parameters).items), "")


@pytest.mark.parametrize("text", ["SK-M8x40-A2", " or-20x1,5 ", "4711"])
@pytest.mark.parametrize("literal", [False, True])
def test_a_typed_id_comes_first(parts: Engine, text: str, literal: bool) -> None:
    answer = parts.search(text, literal=literal)
    assert answer.items[0].item_id.casefold() == text.strip().casefold()
    assert answer.items[0].reason == "Its number is what you typed"
    understood = answer.understood
    assert understood is not None and understood.searched == text
    assert not understood.is_corrected and not understood.unknown and not understood.by_meaning


def test_a_year_that_items_have_as_a_word_or_title_is_no_id(parts: Engine) -> None:
    assert first(parts, "1999") == "n7"
    assert first(parts, "2001") == "n8"


def test_a_deleted_or_filtered_item_is_not_found_by_its_id(parts: Engine) -> None:
    found = parts.search("SK-M8x40-A2", filters=("genre=western",)).items
    assert found and "SK-M8x40-A2" not in {item.item_id for item in found}
    parts.delete_item("SK-M8x40-A2")
    found = parts.search("SK-M8x40-A2").items
    assert "SK-M8x40-A2" not in {item.item_id for item in found}


def test_why_an_item_is_shown_says_its_number(parts: Engine) -> None:
    told = parts.explain(Request("search", text="4711"), "4711")
    assert told.position == 0
    assert told.evidence[0].text == "Its number is what you typed"
