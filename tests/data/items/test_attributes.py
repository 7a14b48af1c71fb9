import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.items.catalogue import AttributeColumn, Catalogue, Item


def column_of(values) -> AttributeColumn:
    items = (
        Item(str(number), attributes={} if value is None else {"x": value})
        for number, value in enumerate(values)
    )
    return Catalogue(items).column("x")


def test_words_are_counted_once_an_item_and_a_column_made_once() -> None:
    catalogue = Catalogue([Item("a", attributes={"x": ("Red", "Red", "Blue")}), Item("b")])
    late = catalogue.with_late([Item("b", attributes={"x": "Blue"}), Item("c")])
    assert late.column("x").count_words(np.arange(3, dtype=np.int32)) == {"Red": 1, "Blue": 2}
    assert not Catalogue([Item("a")]).column("x").count_words(np.arange(1, dtype=np.int32))

    catalogue = Catalogue([Item("a", attributes={"price": 1.0}), Item("b")])
    assert catalogue.column("price") is catalogue.column("price")
    changed = catalogue.with_late([Item("a", attributes={"price": 9.0})])
    assert np.flatnonzero(changed.column("price").within(5, 10)).tolist() == [0]
    assert len(catalogue.with_late([Item("c")]).column("price").numbers) == 3
    assert not catalogue.column("nowhere").having("x").any()


WORDS = st.sampled_from(["A", "a", "b", "ß", "SS", ""])
ATTRIBUTES = st.one_of(st.none(), WORDS, st.floats(-5, 5), st.lists(WORDS, max_size=3).map(tuple))


@given(st.lists(ATTRIBUTES, max_size=12), WORDS)
def test_every_item_is_kept_exactly_where_its_own_value_passes(values, word) -> None:
    column = column_of(values)
    same = [isinstance(one, str) and one.casefold() == word.casefold() for one in values]
    listed = [
        isinstance(one, tuple) and word.casefold() in {part.casefold() for part in one}
        for one in values
    ]
    assert column.having(word).tolist() == [a or b for a, b in zip(same, listed, strict=True)]


def test_values_of_some_items_are_those_of_the_whole_column() -> None:
    posted = [Item("c", attributes={"price": 3.0, "made": "KR"}), Item("d")]
    catalogue = Catalogue(
        [Item("a", attributes={"price": 1.0, "made": ("KR", "DE")}), Item("b")]
    ).with_late(posted)
    catalogue = catalogue.with_late([Item("b", attributes={"price": 7.0, "made": "kr"})])
    catalogue = catalogue.with_late([Item("a", attributes={"made": "DE"})])
    prices, made = catalogue.column("price"), catalogue.column("made")
    for items in ([0, 1, 2, 3], [3, 1], []):
        some = np.array(items, np.int32)
        np.testing.assert_array_equal(prices.numbers_of(some), prices.numbers[some])
        np.testing.assert_array_equal(made.having_of("KR", some), made.having("KR")[some])
    assert made.having("KR").tolist() == [False, True, True, False]
