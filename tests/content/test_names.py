from __future__ import annotations

import numpy as np

from serendip.content.names import name_prefixes
from serendip.data.item import Catalogue, Item

FIELDS = ("title", "year", "genres")


def film(number: int, title: str, year: str, *genres: str) -> Item:
    return Item(str(number), title, "", {"year": year, "genres": genres})


FILMS = Catalogue(
    [
        film(0, "Dark House", "1981", "Horror", "Thriller"),
        film(1, "Cold House", "1984", "Horror", "Thriller"),
        film(2, "Happy Days", "1995", "Comedy"),
        film(3, "Merry Days", "1996", "Comedy"),
        film(4, "Long Road", "1997", "Drama"),
        film(5, "Wide Road", "1962", "Drama"),
    ]
)
CODES = np.asarray([[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 0]], np.int32)


def test_a_group_bears_the_attributes_that_set_it_apart() -> None:
    names = name_prefixes(FILMS, CODES, ("title", "genres"))
    assert names["0"] == "Horror, Thriller"
    assert names["1-0"].startswith("Comedy")
    assert names["1-1"].startswith("Drama")


def test_years_speak_as_decades() -> None:
    names = name_prefixes(FILMS, CODES, ("year",))
    assert names["0"] == "1980s"


def test_only_one_and_two_levels_are_named() -> None:
    assert set(name_prefixes(FILMS, CODES, FIELDS)) == {"0", "0-0", "1", "1-0", "1-1"}


def test_deeper_levels_are_named_where_they_are_asked_for() -> None:
    names = name_prefixes(FILMS, CODES, ("genres",), levels=3)
    assert names["0-0-0"] == names["0-0-1"] == "Horror, Thriller"
    assert names["1-1-0"] == "Drama"


def test_titles_help_where_there_is_nothing_else() -> None:
    names = name_prefixes(FILMS, CODES, ("title",))
    assert names["0"] == "House"
    assert names["1-1"] == "Road"


def test_groups_without_words_have_no_name() -> None:
    bare = Catalogue([Item("a"), Item("b")])
    assert name_prefixes(bare, np.zeros((2, 3), np.int32), FIELDS) == {}


def test_a_catalogue_of_one_group_still_has_a_name() -> None:
    alike = Catalogue([film(0, "", "", "Horror"), film(1, "", "", "Horror")])
    names = name_prefixes(alike, np.zeros((2, 2), np.int32), FIELDS)
    assert names == {"0": "Horror", "0-0": "Horror"}
