import pytest

from serendip.data import Catalogue, Item
from serendip.data.items.attribute_test import AttributeTest, parse_tests
from serendip.errors import DataError

ITEMS = Catalogue(
    [
        Item("a", "A", "", {"genres": ("Comedy", "Drama"), "year": 1999.0, "brand": "Acme"}),
        Item("b", "B", "", {"genres": ("Drama",), "year": 2005.0}),
        Item("c", "C", "", {"brand": "acme & co", "size": "38"}),
        Item("d", "D", "", {"year": 1980.5, "size": 38.0}),
    ]
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("genres=comedy", "a"),
        ("genres = Comedy | DRAMA ", "ab"),
        ("genres!=comedy", "bcd"),
        ("brand=Acme", "a"),
        ("brand!=Acme|Acme & Co", "bd"),
        ("year>=1999", "ab"),
        ("year<=1999", "ad"),
        ("year=2005", "b"),
        ("year=1980.5|1999", "ad"),
        ("size=38", "cd"),
        ("genres=Western", ""),
        ("genres=Comedy/Drama", "a"),
        ("genres=Comedy > Drama|Western", "a"),
        ("genres!=Drama/Comedy", "bcd"),
        ("genres=Comedy/Western", ""),
        ("brand=Acme OR year>=2000", "ab"),
        ("brand=Acme OR size=38 OR year<=1980.5", "acd"),
        ("genres!=Drama OR year>=2000", "bcd"),
        ("brand=Acme OR Co", ""),  # a value with an OR in it
        ("genres=Comedy OR brand", ""),
    ],
)
def test_items_pass(text: str, expected: str) -> None:
    kept = AttributeTest.parse(text).keep(ITEMS)
    found = [item.item_id for item, keep in zip(ITEMS.items, kept, strict=True) if keep]
    assert "".join(found) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "genres",
        "=Comedy",
        "genres=",
        "genres= | ",
        "year>=new",
        "year>=1|2",
        "year<=nan",
        "size=38 OR year>=new",
    ],
)
def test_what_is_no_test_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(DataError, match="filter") as caught:
        AttributeTest.parse(text)
    assert "genres=Comedy|Drama" in caught.value.hint


def test_an_attribute_that_no_item_has_is_refused_with_those_that_they_have() -> None:
    with pytest.raises(DataError, match="'colour'") as caught:
        parse_tests(["year>=1990", "colour=red"], ITEMS)
    assert caught.value.hint == "Items have: genres, year, brand, size."
