"""The quiet line of a card: one number and the words that tell what an item is."""

from __future__ import annotations

import pytest
from tiny_engine import TinyEngine

from serendip.data import Item
from serendip.data.items.catalogue import Attribute
from serendip.serve.page.cards import summarise_attributes


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ({"genres": ("Action", "Sci-Fi"), "year": 1999.0}, "1999 · Action, Sci-Fi"),
        ({"price": 33.5, "stock": 3.0, "link": "https://x.y/1", "kind": "Novel"}, "33.50 · Novel"),
        ({"blurb": "long " * 20, "brand": "Acme"}, "Acme"),
        ({"stock": 0.0}, "0"),
        ({"cost": 9.0, "brand": "Acme"}, "9 EUR · Acme"),
        ({"parent_sku": "TS-1001", "productId": 77.0, "price": 9.0, "brand": "Acme"}, "9 · Acme"),
        ({}, ""),
    ],
)
def test_a_number_and_words_tell_an_item(attributes: dict[str, Attribute], line: str) -> None:
    item = Item("i", "Title", "", attributes)
    assert summarise_attributes(TinyEngine([item]), item) == line
