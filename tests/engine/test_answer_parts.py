from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from small_shop import add_settings

from serendip.data import Item, ItemList
from serendip.engine.engine import Engine
from serendip.engine.presenter import _parts
from serendip.engine.request import Request


def test_numbers_have_five_decimals_but_a_propensity_never_becomes_0():
    columns = {
        "retriever": np.array([0.1234567, 1e-9]),
        "propensity": np.array([np.nan, 2.5e-7]),
    }
    items = ItemList(np.array([3, 4], np.int32), np.array([2.0, 1.0]), columns)
    assert _parts(items) == [{"retriever": 0.12346}, {"retriever": 0.0, "propensity": 2.5e-7}]


EXPLORING = "\n[surfaces.home.exploration]\nshare = 0.5\nmin_taste = -9\n"


def test_without_parts_an_answer_keeps_only_the_numbers_that_events_carry(shop: Path) -> None:
    add_settings(shop, EXPLORING)
    with closing(Engine.open(shop)) as engine:
        engine.add_items([Item(f"new{number}", f"A new thing {number}") for number in range(8)])
        told = Request("home", user_id="u1", k=10, parts=True)
        whole, short = engine.recommend(told), engine.recommend(replace(told, parts=False))
        assert [one.item_id for one in short.items] == [one.item_id for one in whole.items]
        assert [one.score for one in short.items] == [one.score for one in whole.items]
        assert [one.reason for one in short.items] == [one.reason for one in whole.items]
        carried = ("explored", "propensity")
        kept = [
            {name: one.parts[name] for name in carried if name in one.parts} for one in whole.items
        ]
        assert any(kept) and [dict(one.parts) for one in short.items] == kept
