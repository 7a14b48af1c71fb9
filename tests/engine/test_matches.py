"""A search in an order of its own: all items with its words, scored, bounded and explained."""

from __future__ import annotations

from serendip.data.item import Item
from serendip.data.query import Query
from serendip.engine.engine import Engine
from serendip.engine.matches import find_matches
from serendip.engine.stages.surfaces import SurfaceConfig


def washer(number: int) -> Item:
    return Item(f"w{number}", f"Zinc washer {number:04d}", attributes={"price": float(number)})


def test_a_text_that_the_surface_does_not_read_matches_nothing(engine: Engine) -> None:
    engine.add_items([washer(1)])
    query = Query("search", text="zinc washer")
    reads = SurfaceConfig(task="search", sources={"words": 30}, context=("query",))
    assert len(find_matches(query, reads, engine.state, "price")) == 1
    ignores = SurfaceConfig(task="home", sources={"words": 30}, context=("user",))
    assert not len(find_matches(query, ignores, engine.state, "price"))
