from collections.abc import Sequence

import pytest

from serendip.data import Catalogue, Item
from serendip.data.items.catalogue import Attribute
from serendip.search.suggestions.combinations import (
    LEAST_ITEMS,
    combined_values,
    find_decade,
    main_attribute,
    single_values,
)


def build(rows: Sequence[dict[str, Attribute]]) -> Catalogue:
    """Each of the rows as many times as a combination needs."""
    return Catalogue(
        Item(f"{number}-{copy}", f"T{number}-{copy}", attributes=row)
        for number, row in enumerate(rows)
        for copy in range(LEAST_ITEMS)
    )


def combine(catalogue: Catalogue) -> dict[str, list[int]]:
    kinds = combined_values(catalogue, main_attribute(catalogue))
    return {text: items.tolist() for _, values in kinds for text, items in values}


def film(genres: Sequence[str], year: float, person: str) -> dict[str, Attribute]:
    return {"genres": tuple(genres), "released": year, "people": (person,)}


FILMS = build(
    [
        film(["Horror", "Comedy"], 1994.0, "Ann Lee"),
        film(["Comedy"], 1999.0, "Ann Lee"),
        film(["Comedy"], 2004.0, "Bo Li"),
        film(["Horror", "Drama"], 2009.0, "Cy Wu"),
        film(["Drama"], 1991.0, "Bo Li"),
        film(["Drama"], 1984.0, "Di Xu"),
        film(["Horror", "Comedy"], 1988.0, "Ed Yi"),
    ]
)


def test_decades_people_and_pairs_come_before_a_value_of_the_main_attribute() -> None:
    found = combine(FILMS)
    assert found["90s Comedy"] == list(range(2 * LEAST_ITEMS))
    assert found["2000s Drama"] == list(range(3 * LEAST_ITEMS, 4 * LEAST_ITEMS))
    assert found["Ann Lee Comedy"] == list(range(2 * LEAST_ITEMS))
    assert len(found["Horror Comedy"]) == 2 * LEAST_ITEMS
    assert "Comedy Horror" not in found, "the more general value is the head"
    assert found["90s Horror Comedy"] == list(range(LEAST_ITEMS))
    for text, items in found.items():
        assert len(items) >= LEAST_ITEMS, text


def test_values_of_a_path_are_no_pairs() -> None:
    rows: list[dict[str, Attribute]] = [
        {"path": ("Tools", "Drills"), "maker": "Acme"},
        {"path": ("Tools", "Saws"), "maker": "Bolt"},
        {"path": ("Garden", "Rakes"), "maker": "Acme"},
        {"path": ("Garden", "Hoses"), "maker": "Cord"},
        {"path": ("Tools", "Drills"), "maker": "Cord"},
    ]
    assert not {"Drills Tools", "Rakes Garden"} & combine(build(rows)).keys()
    _, pairs = next(combined_values(build(rows), "path"))
    assert pairs.texts == []


def test_codes_texts_and_yes_or_no_are_neither_values_nor_heads() -> None:
    rows: list[dict[str, Attribute]] = [
        {
            "sku": f"AB-{number}",
            "new": ("true", "false")[number % 2],
            "about": f"A long text about thing {number}, longer than any name would be",
            "kind": ("Drill", "Saw", "Rake")[number % 3],
            "maker": ("Acme", "Bolt", "Cord", "(none)")[number % 4],
        }
        for number in range(12)
    ]
    catalogue = build(rows)
    assert main_attribute(catalogue) == "kind"
    kinds, makers = single_values(catalogue, "kind")
    assert sorted(kinds.texts) == ["Drill", "Rake", "Saw"]
    assert sorted(makers.texts) == ["Acme", "Bolt", "Cord"]


def test_without_a_main_attribute_nothing_is_combined() -> None:
    catalogue = Catalogue(Item(f"i{n}", f"T{n}") for n in range(9))
    assert combine(catalogue) == {}
    assert list(single_values(catalogue, "")) == []


@pytest.mark.parametrize(
    ("year", "decade"),
    [
        *((1995.0, "90s"), (1930.0, "30s"), (2003.0, "2000s"), (2019.0, "2010s")),
        *((1894.0, ""), (1995.5, ""), ("1995", ""), (None, "")),
    ],
)
def test_decades_are_said_as_people_say_them(year: object, decade: str) -> None:
    assert find_decade(year) == decade
