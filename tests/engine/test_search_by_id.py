from pathlib import Path

import numpy as np
import pytest

from serendip.data.items.catalogue import Catalogue, Item
from serendip.engine.engine import Engine
from serendip.search.searcher import Searcher


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
            Item("6204-2RS", "Ball bearing"),
            Item("AbC77", "Mixed case"),
            Item("12-34-567", "Gasket"),
            Item("A-1.2", "Two spellings"),
            Item("A-12", "The other"),
            Item("n9", "Set screw M8 x 40"),
            Item("n10", "Set screw m6×20"),
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
    assert "SK-M8x40-A2" not in {item.item_id for item in found}
    parts.delete_item("SK-M8x40-A2")
    found = parts.search("SK-M8x40-A2").items
    assert "SK-M8x40-A2" not in {item.item_id for item in found}


@pytest.mark.parametrize(
    ("text", "item_id"),
    [
        ("sk-m8x40-a2", "SK-M8x40-A2"),
        ("SK M8 x 40 A2", "SK-M8x40-A2"),
        ("sk_m8*40_a2", "SK-M8x40-A2"),
        ("SKM8×40A2", "SK-M8x40-A2"),
        ("6204 2rs", "6204-2RS"),
        ("62042RS", "6204-2RS"),
        ("6204/2rs", "6204-2RS"),
        ("abc77", "AbC77"),
        ("1234567", "12-34-567"),
        ("12.34.567", "12-34-567"),
        ("a-1.2", "A-1.2"),
        ("A 12", ""),  # two items have this code in another spelling
    ],
)
def test_case_and_separators_of_an_id_do_not_matter(parts: Engine, text: str, item_id: str) -> None:
    state = parts.state
    number = state.match_id(text)
    assert (state.catalogue.vocabulary.id(number) if number >= 0 else "") == item_id
    if item_id:
        assert first(parts, text) == item_id


@pytest.mark.parametrize("text", ["M8 x 40", "m8*40", "M8×40", "m8X40"])
def test_a_measure_is_found_in_ids_and_titles_in_any_spelling(parts: Engine, text: str) -> None:
    answer = parts.search(text, k=2)
    assert {item.item_id for item in answer.items} == {"SK-M8x40-A2", "n9"}
    assert not answer.understood.unknown and not answer.understood.by_meaning


def test_a_part_of_a_code_is_found(parts: Engine) -> None:
    assert first(parts, "screw m6") == "n10"
    assert {item.item_id for item in parts.search("m8", k=3).items} == {
        *("SK-M8x40-A2", "SK-M8x45-A2", "n9"),
    }
    answer = parts.search("6204")
    assert answer.items[0].item_id == "6204-2RS"
    assert answer.understood is not None and not answer.understood.unknown


def test_codes_of_a_trained_catalogue_are_found(tmp_path: Path) -> None:
    catalogue = Catalogue([Item("SK-M8x40-A2", "Bolt"), Item("AbC77", "Nut"), Item("i3", "Cog")])
    searcher = Searcher.build(catalogue, np.zeros(3, np.int32), tmp_path / "search")
    vocabulary = catalogue.vocabulary
    for text, number in (("sk m8 x 40 a2", 0), ("abc77", 1), ("I3", 2), ("m8x40", -1)):
        assert searcher.match_item_id(text, vocabulary) == number
    assert searcher.search("M8 * 40", 3).item_nums.tolist() == [0]
    assert not searcher.speller.knows("skm8x40a2")
