import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.items.catalogue import Item
from serendip.data.items.features import TEXT, WORD_OF_VALUE, TokenReader, Tokens

LAMP = Item(
    "1",
    "Red lamp, red!",
    attributes={
        "category": ("Home > Light", "Sale"),
        "location": "Germany / Berlin",
        "brand": "Acme & Co",
        "price": 5.0,
    },
)


def bags(tokens: Tokens) -> list[list[int]]:
    return [part.tolist() for part in np.split(tokens.hashes, tokens.starts[1:-1])]


def test_a_token_says_of_what_it_is_and_a_long_text_is_words() -> None:
    found = TokenReader(("title", "brand", "price")).tokens(LAMP)
    assert set(found) == {"red", "lamp", "acme", "and", "co", "5", "brand=acme and co"}

    found = TokenReader(("title", "brand"), ("category",)).tokens(LAMP)
    assert {word for word, kind in found.items() if kind == TEXT} == {"red", "lamp"}
    values = {word for word, kind in found.items() if kind == WORD_OF_VALUE}
    assert values == {"acme", "and", "co"}
    brand, category = found["brand=acme and co"], found["category=sale"]
    assert brand != category
    assert found["category=home/light"] == category

    plot = "a toy that talks finds its way home through a strange town"
    found = TokenReader(("plot",)).tokens(Item("1", attributes={"plot": plot}))
    assert set(found.values()) == {TEXT}
    path = "Home and Garden > Kitchen and Dining > Small Appliances > Coffee Makers and Mills"
    found = TokenReader(("category",)).tokens(Item("1", attributes={"category": path}))
    assert "category=home and garden/kitchen and dining" in found


def test_a_path_is_a_token_for_each_of_its_beginnings() -> None:
    assert TokenReader(("category",), ("location", "unknown")).tokens(LAMP).keys() == {
        *("home", "light", "sale"),
        *("category=home", "category=home/light", "category=sale"),
        *("location=germany", "location=germany/berlin"),
    }
    for text in (" / ".join(["step"] * 20_000), "a" + " " * 60_000 + "/ b", "> " * 30_000):
        item = Item("1", attributes={"band": text})
        assert sum(map(len, TokenReader((), ("band",)).tokens(item))) < 100_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("AC/DC", "ac dc"),
        ("24/7", "24 7"),
        ("Action|Drama", "action drama"),
        ("https://a.example/b", "https a example b"),
        ("<p>Red</p>", "p red p"),
    ],
)
def test_only_signs_between_blanks_make_a_path(text: str, value: str) -> None:
    found = TokenReader((), ("band",)).tokens(Item("1", attributes={"band": text}))
    assert list(found) == [f"band={value}"]


def test_words_have_the_same_number_where_they_are_typed_and_where_they_are_written() -> None:
    typed, written = Tokens.of_texts(["RED Lamp"]), TokenReader(("title",)).read([LAMP])
    assert bags(typed) == bags(written) == [[zlib.crc32(b"red"), zlib.crc32(b"lamp")]]


@given(st.lists(st.text("abc ", max_size=8), max_size=6), st.data())
def test_rows_joined_and_replaced_are_those_of_lists(texts: list[str], data: st.DataObject) -> None:
    tokens, places = Tokens.of_texts(texts), range(len(texts))
    numbers = data.draw(st.lists(st.sampled_from(places), unique=True)) if texts else []
    found = np.array(numbers, np.int64)
    assert bags(tokens.rows(found)) == bags(Tokens.of_texts(texts[number] for number in numbers))
    more = [f"x{text}" for text in texts]
    assert bags(tokens.joined(Tokens.of_texts(more))) == bags(Tokens.of_texts(texts + more))
    changed = [f"x {text}" if place in numbers else text for place, text in enumerate(texts)]
    new = Tokens.of_texts(changed[number] for number in numbers)
    assert bags(tokens.put(found, new)) == bags(Tokens.of_texts(changed))
