import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data import Item
from serendip.data.rows.strings import Strings
from serendip.search.names import ValueTable, WordStarts

TEXTS = st.lists(st.lists(st.text("ab가", min_size=1, max_size=3), max_size=3).map(" ".join))


@given(TEXTS, st.text("ab가 ", max_size=4))
def test_a_prefix_finds_all_words_from_which_a_text_goes_on_with_it(texts, prefix) -> None:
    rows, offsets = WordStarts.of(Strings.of(texts)).starting(prefix)
    expected = [
        (row, at)
        for row, text in enumerate(texts)
        for at in range(len(text))
        if f" {text}"[at] == " " and text[at:].startswith(prefix)
    ]
    assert sorted(zip(rows.tolist(), offsets.tolist(), strict=True)) == expected


def test_of_items_with_two_values_those_with_few_others_come_sooner() -> None:
    both = ("Comedy", "Romance")
    genres = [(*both, "Drama", "War"), (*both, "Fantasy"), ("Comedy",), both, (*both, "Drama")]
    items = [Item(f"i{row}", attributes={"genres": some}) for row, some in enumerate(genres)]
    table = ValueTable.of(items, np.arange(5, 0, -1, dtype=np.float32))
    assert table.having(["comedy"]).tolist() == [0, 1, 2, 3, 4]
    assert table.having(["comedy", "romance"]).tolist() == [1, 0, 3, 4]  # Drama is two items'
