import numpy as np
import pytest

from serendip.data import Item
from serendip.search.nonsense import MeaningFloor, make_nonsense
from serendip.search.variants import UNTITLED, find_variants


def numbers(*titles: str, **attributes: float) -> list[int]:
    items = [Item(f"i{row}", title, attributes=attributes) for row, title in enumerate(titles)]
    return find_variants(items).tolist()


VARIANTS = """
Where the Bees Sing = where the bees sing!; Cotton shirt M = Cotton shirt XL; Rug 2 x 3 m =
Rug 4 x 6 m; Olive oil 500 ml = Olive oil 1 l; Nuts (Pack of 4) = Nuts (Pack of 12); Shoe, size 8 =
Shoe, size 9.5
"""
OTHERS = """
Star Wars 2 = Star Wars 3; Rocky = Rocky II; Apollo 11 = Apollo 13; 8 mm = 16 mm; Screw M8 =
Screw M10; Charger 5 V = Charger 12 V; Top 10 in Rock = Top 20 in Rock; M = L
"""


@pytest.mark.parametrize(("pairs", "second"), [(VARIANTS, 0), (OTHERS, 1)])
def test_titles_that_differ_by_a_measure_are_variants_and_sequels_are_not(
    pairs: str, second: int
) -> None:
    for pair in " ".join(pairs.split()).split("; "):
        assert numbers(*pair.split(" = ")) == [0, second], pair


def test_works_of_other_years_and_titles_that_are_ids_are_no_variants() -> None:
    items = [Item(f"i{row}", "Hamlet", attributes={"year": 1990.0 + row % 2}) for row in range(3)]
    assert find_variants(items).tolist() == [0, 1, 0]
    items = [Item("108548", "108548"), Item("a-1", "A 1"), Item("x", ""), Item("12", "1984")]
    assert find_variants(items).tolist() == [UNTITLED, UNTITLED, UNTITLED, 3]


def test_editions_of_a_work_are_variants_whatever_their_years() -> None:
    authors = (("Lee", "Ann"), ("LEE", "Ann"), ("Lee", "Ann"), ("Kim",), "Lee, Ann")
    titles = ("Sea", "Sea (Paperback)", "Sea: 2nd Revised Edition", "Sea", "Sea")
    items = [
        Item(f"i{row}", title, attributes={"Author": author, "year": 1990.0 + row})
        for row, (title, author) in enumerate(zip(titles, authors, strict=True))
    ]
    assert find_variants(items).tolist() == [0, 0, 0, 3, 0]
    assert numbers("First Edition", "Second Edition") == [0, 1]


def test_nonsense_has_the_letters_of_the_words_and_hardly_reaches_the_floor() -> None:
    known = ["house", "river", "커피우유집"]
    texts = make_nonsense(known)
    assert texts == make_nonsense(known)
    drawn = {word for text in texts for word in text.split()}
    assert drawn.isdisjoint(known)
    assert {letter for word in drawn for letter in word} == set("".join(known))
    assert make_nonsense(["an", "42"]) == []
    floor = MeaningFloor.of(np.linspace(0, 1, 1_001, dtype=np.float32))
    assert (floor.beside_words, floor.of_nonsense) == pytest.approx((0.1, 0.99))
    assert MeaningFloor.of(np.empty(0, np.float32)) == MeaningFloor(-1.0, -1.0)
