"""Tests of attributes as requests write them: what is read, what passes, what is refused."""

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def passing(text: str) -> str:
    kept = AttributeTest.parse(text).keep(ITEMS)
    return "".join(item.item_id for item, keep in zip(ITEMS.items, kept, strict=True) if keep)


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
    ],
)
def test_items_pass(text: str, expected: str) -> None:
    assert passing(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "genres", "=Comedy", "genres=", "genres= | ", "year>=new", "year>=1|2", "year<=nan"],
)
def test_what_is_no_test_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(DataError, match="filter") as caught:
        AttributeTest.parse(text)
    assert "genres=Comedy|Drama" in caught.value.hint


def test_an_attribute_that_no_item_has_is_refused_with_those_that_they_have() -> None:
    with pytest.raises(DataError, match="'colour'") as caught:
        parse_tests(["year>=1990", "colour=red"], ITEMS)
    assert caught.value.hint == "Items have: genres, year, brand, size."


@given(
    st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=1, max_size=8),
    st.integers(-5, 5),
    st.sampled_from([("=", operator.eq), (">=", operator.ge), ("<=", operator.le)]),
)
def test_numbers_compare_as_numbers(
    values: list[int | None], number: int, sign: tuple[str, Callable[[float, float], bool]]
) -> None:
    items = [
        Item(f"i{n}", "", "", {} if value is None else {"x": float(value)})
        for n, value in enumerate(values)
    ]
    kept = AttributeTest.parse(f"x{sign[0]}{number}").keep(Catalogue(items))
    assert kept.tolist() == [value is not None and sign[1](value, number) for value in values]
