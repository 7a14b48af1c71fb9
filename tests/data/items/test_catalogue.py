import numpy as np
import pytest

from serendip.data import ActionRules, Catalogue, Item
from serendip.errors import DataError

FILM = Item("1", "Heat", "", {"year": 1995.0, "price": 2.5, "genres": ("Crime", "Drama")})


def test_the_text_of_an_item_is_the_beginnings_of_its_fields_and_all_that_was_generated():
    fields = ("title", "description", "year", "genres", "price", "nothing")
    assert FILM.text(fields) == "Heat. 1995. Crime, Drama. 2.5"
    assert FILM.text(()) == ""

    words, keywords = "a long story " * 40, "heist, rivals, " * 30
    item = Item("1", "Heat", words, {"genres": ("Crime",)}, generated_text=keywords)
    text = item.encoder_text(("description", "title", "genres"))
    assert text == f"{words[:160]}. Heat. Crime. {keywords}"


def test_new_items_of_a_catalogue_come_last_and_known_ones_keep_their_number():
    catalogue = Catalogue([FILM]).with_late([Item("2", "Ronin")])
    assert catalogue.vocabulary.numbers(["2", "1", "3"]).tolist() == [1, 0, -1]
    assert catalogue.texts(["title"]) == ["Heat", "Ronin"]
    assert catalogue[1].title == "Ronin" and len(catalogue) == 2
    changed = catalogue.with_late([Item("3", "Tin"), Item("1", "Thief")])
    assert changed.texts(["title"]) == ["Thief", "Ronin", "Tin"]
    assert (changed.is_late(0), catalogue.is_late(0), catalogue[0].title) == (True, False, "Heat")
    with pytest.raises(DataError, match="'4' appears twice"):
        catalogue.with_late([Item("4"), Item("4")])


def test_items_of_a_title_alone_are_bare_where_most_have_a_text() -> None:
    told = [Item(f"t{number}", "A", "of iron") for number in range(3)]
    bare, written = Item("b", "B"), Item("w", "C", generated_text="of brass")
    catalogue, numbers = Catalogue([*told, bare, written]), np.arange(5, dtype=np.int32)
    assert catalogue.are_bare(numbers).tolist() == [False, False, False, True, False]
    changed = catalogue.with_late([Item("b", "B", "of zinc")])
    assert not changed.are_bare(numbers).any()
    assert not Catalogue([bare, told[0]]).are_bare(numbers[:2]).any()


@pytest.mark.parametrize(
    ("action", "value", "liked"),
    [
        ("rate", 4.0, True),
        ("rate", 3.9, False),
        ("rate", None, False),
        ("purchase", None, True),
        ("purchase", 1.0, False),
        ("purchase", float("nan"), True),
        ("click", None, False),
    ],
)
def test_a_value_decides_before_the_action(action, value, liked):
    assert ActionRules().is_like(action, value) is liked
