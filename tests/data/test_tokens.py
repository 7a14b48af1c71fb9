from __future__ import annotations

import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.item import Item
from serendip.data.tokens import Tokens, item_tokens

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


def test_an_item_has_the_words_of_its_fields_and_a_token_for_each_attribute() -> None:
    assert item_tokens(LAMP, ("title", "brand", "price")) == [
        *("red", "lamp", "red", "acme", "and", "co", "5"),
        "brand=acme and co",
    ]


def test_a_path_is_a_token_for_each_of_its_beginnings() -> None:
    assert item_tokens(LAMP, ("category",), ("location", "unknown")) == [
        *("home", "light", "sale"),
        *("category=home", "category=home/light", "category=sale"),
        *("location=germany", "location=germany/berlin"),
    ]


def test_an_attribute_that_is_a_field_too_is_told_once() -> None:
    assert item_tokens(LAMP, ("brand",), ("brand",)).count("brand=acme and co") == 1


def test_words_have_the_same_number_where_they_are_typed_and_where_they_are_written() -> None:
    typed, written = Tokens.of_texts(["RED Lamp"]), Tokens.of_items([LAMP], ("title",))
    assert bags(typed) == bags(written) == [[zlib.crc32(b"red"), zlib.crc32(b"lamp")]]


def test_a_text_without_words_has_no_tokens() -> None:
    found = Tokens.of_texts(["", "one two", "?!", "two"])
    assert found.counts.tolist() == [0, 2, 0, 1]
    assert len(Tokens.of_texts([])) == 0
    assert Tokens.none(3).counts.tolist() == [0, 0, 0]


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
    assert bags(tokens.with_rows(found, new)) == bags(Tokens.of_texts(changed))
