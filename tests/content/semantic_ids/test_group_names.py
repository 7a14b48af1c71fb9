import numpy as np

from serendip.content.semantic_ids.group_names import build_group_name, name_prefixes, shared_parts
from serendip.data.items.catalogue import Catalogue, Item


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
    assert names["1"] == "Comedy, Drama"
    assert names["1-0"] == "Days"
    assert names["1-1"] == "Road"


def test_a_deeper_name_says_what_sets_the_group_apart_within_its_parent() -> None:
    polish = Catalogue(
        [
            Item(str(number), title, "", {"kind": ("Nail Polish", "Nails")})
            for number, title in enumerate(
                ("Opi Red", "Opi Pink", "Essie Red", "Essie Pink", "Essie Ruby")
            )
        ]
        + [Item("5", "Dove", "", {"kind": ("Soap",)}), Item("6", "Nivea", "", {"kind": ("Soap",)})]
    )
    codes = np.asarray([[0, 0], [0, 0], [0, 1], [0, 1], [0, 1], [1, 0], [1, 1]], np.int32)
    names = name_prefixes(polish, codes, ("kind", "title"))
    assert names == {
        "0": "Nail Polish, Essie",
        "0-0": "Opi",
        "1": "Soap",
        "1-0": "Dove",
        "1-1": "Nivea",
    }


def test_words_of_the_names_above_are_not_repeated_in_another_number_or_case() -> None:
    titles = ("Masks Clay", "Mask clay", "masks Mud", "MASK Mud")
    masks = Catalogue([Item(t, t, "", {"kind": ("Face Masks",)}) for t in titles])
    codes = np.asarray([[0, 0], [0, 0], [0, 1], [0, 1]], np.int32)
    names = name_prefixes(masks, codes, ("kind", "title"))
    assert names == {"0": "Face Masks, Clay", "0-1": "Mud"}


def test_siblings_bear_different_names_where_words_allow_it() -> None:
    films = [("Dark", "1981"), ("Cold", "1982"), ("Blue", "1991"), ("Grey", "1992")]
    horror = [film(n, t, y, "Horror", "Thriller") for n, (t, y) in enumerate(films)]
    others = [film(n, "Day", "2001", "Comedy") for n in range(4, 12)]
    codes = np.asarray([[0], [0], [1], [1], *([2] for _ in others)], np.int32)
    names = name_prefixes(Catalogue([*horror, *others]), codes, ("genres", "year"))
    assert names["0"] == "1980s, Horror"
    assert names["1"] == "1990s, Horror"
    names = name_prefixes(Catalogue([*horror, *others]), codes, ("genres",))
    assert names["0"] == "Horror, Thriller"
    assert names["1"] == "Horror"


def test_a_name_is_read_along_the_codes_and_only_what_both_items_have_is_said() -> None:
    names = {"3": "Horror", "3-1-4": "Vampire"}
    assert build_group_name(names, np.asarray([3, 1, 4])) == "Horror › Vampire"
    assert build_group_name(names, np.asarray([3, 1])) == "Horror"
    assert build_group_name(names, np.asarray([7])) == ""
    names = {"0": "Horror, Thriller", "0-0": "Thriller, Horror", "0-0-1": "Vampires"}
    assert build_group_name(names, [0, 0, 1]) == "Horror, Thriller › Vampires"

    name = "Horror, Thriller › House"
    assert shared_parts(name, FILMS[0], FILMS[1]) == name
    assert shared_parts(name, FILMS[0], film(9, "Dark Road", "1981", "Horror")) == "Horror"
    assert shared_parts(name, FILMS[0], FILMS[2]) == ""
