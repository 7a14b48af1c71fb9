import numpy as np
import pytest

from serendip.data import Item, Query
from serendip.engine.engine import Engine
from serendip.engine.matches import Matches
from serendip.engine.request import Request
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.search.searcher import DEPTH

ALL = 350
REQUEST = Request("search", text="zinc washer", sort="price", k=1_000, parts=True)


def washer(number: int) -> Item:
    return Item(f"w{number}", f"Zinc washer {number:04d}", attributes={"price": float(number)})


@pytest.fixture
def stock(engine: Engine) -> Engine:
    """A shop in which more items have the words than the word search has hits."""
    assert DEPTH < ALL
    engine.add_items([washer(number) for number in range(ALL)])
    return engine


def test_a_text_that_the_surface_does_not_read_matches_nothing(engine: Engine) -> None:
    engine.add_items([washer(1)])
    query = Query("search", text="zinc washer")
    reads = SurfaceConfig(task="search", sources={"words": 30}, context=("query",))
    assert len(Matches(query, reads, engine.state).find("price")) == 1
    ignores = SurfaceConfig(task="home", sources={"words": 30}, context=("user",))
    assert not len(Matches(query, ignores, engine.state).find("price"))


def test_every_match_has_its_word_scores_and_the_words_as_its_reason(stock: Engine) -> None:
    items = stock.recommend(REQUEST).items
    assert [item.item_id for item in items] == [f"w{number}" for number in range(ALL)]
    # What is true of all is said of the first three.
    told = [item.reason for item in items]
    assert told == ["Matches “zinc washer”"] * 3 + [""] * (ALL - 3)
    best = stock.search("zinc washer", k=1, parts=True).items[0].parts
    assert np.allclose([item.parts["bm25"] for item in items], best["bm25"])
    assert all(item.parts["title match"] > 0.4 for item in items)


def test_pages_reach_all_that_facets_count(stock: Engine) -> None:
    found: list[str] = []
    cursor = ""
    while cursor or not found:
        answer = stock.search("zinc washer", k=90, cursor=cursor, reasons=False)
        found += [item.item_id for item in answer.items]
        scores = [item.score for item in answer.items]
        assert scores == sorted(scores, reverse=True)
        cursor = answer.next
    assert len(found) == len(set(found))
    assert {f"w{number}" for number in range(ALL)} <= set(found)


def test_an_item_is_explained_at_the_position_where_it_is_shown(stock: Engine) -> None:
    request = Request("search", text="zinc washer", sort="price", k=10)
    shown = stock.explain(request, "w9")
    assert (shown.position, shown.absence) == (9, None)
    assert shown.evidence[0].text == "Matches “zinc washer”"
    last = stock.explain(request, f"w{ALL - 1}")
    assert last.position == ALL - 1
    assert last.absence is not None and last.absence.kind == "order"
    assert last.absence.text == f"It is number {ALL} in the order price"
    outside = stock.explain(request, "i1")
    assert outside.position is None
    assert outside.absence is not None and outside.absence.kind == "order"
    assert "does not have the words" in outside.absence.text
