import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.content.synthetic_queries import add_typo, write_examples, write_query
from serendip.data.items.catalogue import Catalogue, Item

FIELDS = ("title", "year", "genres")
FILMS = Catalogue(
    Item(str(number), title, "", {"year": float(1990 + number), "genres": ("Horror", "Drama")})
    for number, title in enumerate(["The Matrix", "Toy Story", "Heat", "Groundhog Day"])
)


def counts(*values: int) -> np.ndarray:
    return np.asarray(values, dtype=np.int32)


def test_every_kind_of_query_is_written_and_belongs_to_its_item() -> None:
    texts, items = write_examples(FILMS, counts(1, 1, 1, 1), FIELDS, count=400)
    of_matrix = {text for text, item in zip(texts, items, strict=True) if item == 0}
    assert "The Matrix" in of_matrix
    assert {"The", "Matrix"} <= of_matrix
    assert {"1990 horror", "horror drama"} <= of_matrix
    known = {"The Matrix", "The", "Matrix"}
    attributes = {text for text in of_matrix if set(text.split()) <= {"1990", "horror", "drama"}}
    typos = of_matrix - known - attributes
    assert typos and all(text.startswith("The M") for text in typos)


def test_popular_items_are_asked_for_more_often() -> None:
    _, items = write_examples(FILMS, counts(399, 0, 0, 0), FIELDS, count=2000)
    share = float((items == 0).mean())
    assert share == pytest.approx(20 / 23, abs=0.03)


def test_items_are_asked_for_by_what_they_have() -> None:
    mixed = Catalogue([Item("blank"), Item("titled", "Heat")])
    texts, items = write_examples(mixed, counts(9, 0), FIELDS, count=40)
    assert set(items.tolist()) == {1}
    assert all(texts)
    bare = Catalogue([Item("a", "", "", {"genres": ("Horror",)})])
    texts, _ = write_examples(bare, counts(0), FIELDS, count=20)
    assert set(texts) == {"horror"}


@given(text=st.text(alphabet="abcdefg ", max_size=30), seed=st.integers(0, 1000))
def test_a_typo_touches_the_longest_word_only_and_by_one_edit(text: str, seed: int) -> None:
    wrong = add_typo(text, np.random.default_rng(seed))
    changed = [
        (old, new) for old, new in zip(text.split(" "), wrong.split(" "), strict=True) if old != new
    ]
    assert len(changed) <= 1
    for old, new in changed:
        assert len(old) == max(len(word) for word in text.split(" ")) >= 5
        assert abs(len(old) - len(new)) <= 1
        assert new[0] == old[0]


@given(seed=st.integers(0, 10_000))
def test_one_query_is_never_the_whole_title_and_the_same_for_the_same_seed(seed: int) -> None:
    item = Item("a", "Seven Lonely Riders", attributes={"genre": "western"})
    text = write_query(item, FIELDS, np.random.default_rng(seed))
    assert text
    assert text != item.title
    assert text == write_query(item, FIELDS, np.random.default_rng(seed))
    assert write_query(Item("b"), FIELDS, np.random.default_rng(seed)) == ""
