from dataclasses import replace

import pytest

from serendip.data import Event, Item
from serendip.engine.engine import Engine
from serendip.engine.request import Answer, Request


def read_pages(engine: Engine, request: Request) -> list[Answer]:
    pages = [engine.recommend(request)]
    while pages[-1].next:
        pages.append(engine.recommend(replace(request, cursor=pages[-1].next)))
    return pages


def sell(engine: Engine) -> None:
    engine.add_items(
        Item(f"w{number}", f"Zinc washer {number}", "", {"genre": "tools", "price": number % 5.0})
        for number in range(40)
    )


REQUESTS = {
    "feed": Request("home", "u1"),
    "feed of a visitor": Request("home"),
    "message": Request("digest", "u1"),
    "similar": Request("similar", item_ids=("i3",)),
    "search": Request("search", text="zinc washer"),
    "search by some words": Request("search", text="horror washer"),
    "search with filters": Request("search", text="zinc washer", filters=("price>=2",)),
    "search in an order": Request("search", text="zinc washer", sort="-price"),
    "search for nothing": Request("search", text="zinc washer", filters=("genre=comedy",)),
    "feed with filters": Request("home", "u1", filters=("genre=comedy OR price>=3",)),
    "category page": Request("search", "u1", filters=("genre=tools",)),
    "category page in an order": Request("search", filters=("price<=3",), sort="price"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_total_is_the_number_of_items_on_all_pages(engine: Engine, name: str) -> None:
    sell(engine)
    pages = read_pages(engine, replace(REQUESTS[name], k=4))
    shown = [item.item_id for page in pages for item in page.items]
    assert len(shown) == len(set(shown))
    assert {(page.total, page.is_exact) for page in pages} == {(len(shown), True)}


@pytest.mark.parametrize("text", ["zinc washer", "tale", "horror"])
def test_a_facet_counts_what_a_click_on_it_finds(engine: Engine, text: str) -> None:
    sell(engine)
    request = Request("search", text=text, facets=("genre", "price"), k=3)
    answer = engine.recommend(request)
    assert answer.facets["genre"].values
    for value, count in answer.facets["genre"].values.items():
        clicked = engine.recommend(replace(request, filters=(f"genre={value}",)))
        assert (clicked.total, clicked.is_exact) == (count, True)
        assert clicked.facets["genre"].values == {value: count}
    category = engine.recommend(Request("search", filters=("genre=tools",), facets=("price",)))
    assert (category.facets["price"].min, category.facets["price"].max) == (0.0, 4.0)


def test_pages_under_a_stream_of_events_repeat_nothing(engine: Engine) -> None:
    """Users read their feeds to the end while they and others choose, and items come and go."""
    sell(engine)
    num_pages = 0
    for user in range(9):
        shown, cursor = list[str](), ""
        while cursor or not shown:
            answer = engine.recommend(Request("home", f"u{user}", k=4, cursor=cursor))
            page = [item.item_id for item in answer.items]
            assert not set(page) & set(shown)
            shown, cursor, num_pages = [*shown, *page], answer.next, num_pages + 1
            chosen = page[:1] and Event(f"u{user}", page[0], 1e9, "click")
            others = [Event(f"u{user + 9}", f"i{num_pages % 60}", 1e9, "like")]
            engine.add_events([*others, chosen] if chosen else others)
            if num_pages % 10 == 0:
                engine.add_items([Item(f"new{num_pages}", "A new tale", "", {"genre": "horror"})])
        assert len(shown) > 30
    assert num_pages > 100
