import numpy as np
import pytest
from wire_client import WireClient

from serendip.data import Item
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.search.variants import UNTITLED


def ids(engine: Engine, text: str, **parameters: object) -> list[str]:
    found: list[str] = []
    cursor = ""
    while True:
        answer = engine.search(text, k=50, cursor=cursor, **parameters)
        found += [item.item_id for item in answer.items]
        if not (cursor := answer.next):
            assert len(found) == len(set(found))
            return found


@pytest.fixture
def stock(engine: Engine) -> Engine:
    """A shop with washers of which each third is of brass."""
    engine.add_items(
        Item(
            f"w{number}",
            f"Quux washer {'flat' if number % 2 else 'round'}",
            "for a fence" if number == 5 else "",
            {"metal": ("brass",) if number % 3 == 0 else ("zinc", "steel")},
        )
        for number in range(30)
    )
    return engine


@pytest.mark.parametrize("text", ["quux washer", "quux", "fence washer", "quux fence nothing"])
def test_a_facet_says_how_many_items_the_click_gives(stock: Engine, text: str) -> None:
    answer = stock.search(text, k=5, facets=("metal", "genre"))
    counted = [
        (name, value, count)
        for name, facet in answer.facets.items()
        for value, count in facet.values.items()
    ]
    assert counted
    for name, value, count in counted:
        assert len(ids(stock, text, filters=(f"{name}={value}",))) == count


def test_facets_count_what_has_all_words_and_the_best_match_no_text(
    stock: Engine, reader: Engine
) -> None:
    answer = stock.search("quux washer", k=5, facets=("metal",))
    assert answer.facets["metal"].values == {"steel": 20, "zinc": 20, "brass": 10}
    assert set(ids(stock, "quux washer")[:30]) == {f"w{number}" for number in range(30)}
    best = reader.search("do you know anything good?", k=3)
    assert [item.item_id for item in best.items] == ids(reader, "best")[:3]
    assert all("best" not in item.reason for item in best.items)


def test_nonsense_is_answered_by_nothing_and_a_sentence_by_what_it_asks_for(reader: Engine) -> None:
    answer = reader.search("zzxqwv brrgl")
    assert answer.items == ()
    assert answer.understood is not None and answer.understood.nothing
    told = WireClient(reader).get("/v1/search", params={"q": "zzxqwv brrgl"}).json()
    assert told["query"]["nothing"] is True
    known = reader.search("horror tale").understood
    assert known is not None and not known.nothing

    sentence = reader.search("Hi, can you recommend a horror tale for tonight?", k=5)
    assert [item.item_id for item in sentence.items] == ids(reader, "horror tale")[:5]
    told = sentence.understood
    assert told is not None and (told.searched, told.is_corrected) == ("horror tale", True)
    assert "horror tale" in sentence.items[0].reason
    assert ids(reader, "horror tale?") == ids(reader, "horror tale") == ids(reader, "horror tale!!")
    assert ids(reader, "?") == ids(reader, "!!") == []


def test_the_only_item_with_the_word_comes_first(stock: Engine) -> None:
    assert ids(stock, "fence")[0] == "w5"


def test_an_item_without_a_title_is_the_last_of_its_level(engine: Engine) -> None:
    engine.add_items([Item("9917", "9917", "quux"), Item("q", "A thing", "with a quux and more")])
    state = engine.state
    assert state.variants[-2:].tolist() == [UNTITLED, state.num_items - 1]
    assert ids(engine, "quux")[:2] == ["q", "9917"]
    assert ids(engine, "9917")[0] == "9917"


def test_variants_come_behind_all_other_results(stock: Engine) -> None:
    state, numbers = stock.state, np.arange(stock.state.num_items, dtype=np.int32)
    flat = [state.catalogue.vocabulary.number(f"w{number}") for number in range(1, 30, 2)]
    numbers[flat] = flat[0]
    object.__setattr__(state, "variants", numbers)
    found = ids(stock, "quux washer")
    first = {f"w{number}" for number in range(1, 30, 2)}
    assert len(first & set(found)) == 15
    assert sum(item_id in first for item_id in found[:-14]) == 1


def test_the_newest_are_asked_for_and_a_title_that_says_so_comes_first(engine: Engine) -> None:
    years = (2001.0, 2011.0, 2006.0)
    engine.add_items(
        Item(f"y{n}", f"Quux {n}", attributes={"year": year, "genre": ("horror",)})
        for n, year in enumerate(years)
    )
    assert ids(engine, "new releases")[:3] == ["y1", "y2", "y0"]
    assert ids(engine, "newest horror")[:3] == ["y1", "y2", "y0"]
    assert ids(engine, "new releases", sort="year")[:3] == ["y0", "y2", "y1"]
    explained = engine.explain(Request("search", text="new releases", k=3), "y2")
    assert explained.position == 1
    engine.add_items([Item("t", "New Releases")])
    assert ids(engine, "new releases")[0] == "t"


def test_an_item_that_is_posted_again_stays_a_variant_of_the_same(stock: Engine) -> None:
    state = stock.state
    first, second, third = (state.catalogue.vocabulary.number(f"w{n}") for n in range(3))
    numbers = np.arange(state.num_items, dtype=np.int32)
    numbers[[second, third]] = first
    object.__setattr__(state, "variants", numbers)
    stock.add_items([Item("w1", "Quux washer flat", "on offer"), Item("w0", "Quux washer square")])
    now = stock.state.variants
    assert now[second] == now[third] == first
    assert now[first] not in numbers


def test_items_like_a_named_one_are_those_of_the_surface_similar(reader: Engine) -> None:
    item = reader.item("i7")
    answer = reader.search(f"something like {item.title}", k=5)
    similar = reader.similar("i7", k=5)
    assert [one.item_id for one in answer.items] == [one.item_id for one in similar.items]
    assert answer.surface == "search"
    assert answer.understood is not None and answer.understood.similar_to == "i7"
    request = Request("search", text=f"something like {item.title}", k=5)
    assert reader.explain(request, answer.items[0].item_id).position == 0
    assert reader.search(f"something like {item.title}", literal=True).understood is not None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("films before 1950", "1949"),
        ("films until 1950", "1949 1950"),
        ("movies since 1951", "1951 1952"),
        ("books newer than 1951", "1952"),
        ("horror films after 1950", "1952"),
        ("1950년 이전 영화", "1949 1950"),
    ],
)
def test_years_before_or_after_one_are_a_filter(engine: Engine, text: str, found: str) -> None:
    engine.add_items(
        [
            Item(f"{year}", f"Quux {year}", attributes={"year": float(year), "genre": genre})
            for year, genre in (
                (1949, "horror"),
                (1950, "comedy"),
                (1951, "comedy"),
                (1952, "horror"),
            )
        ]
    )
    assert sorted(ids(engine, text)) == found.split()
    engine.add_items([Item("titled", "Films before 1950")])
    assert ids(engine, "Films before 1950")[0] == "titled"
