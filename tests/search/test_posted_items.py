import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from search_world import post

from serendip.data import Catalogue, Item
from serendip.search.searcher import Searcher

TITLES = st.sampled_from(
    ["Red Lamp", "Red Lamp (Blue Night)", "Blue Lamp", "Lamp", "Night of Red", "", "Blue Night"]
)
GENRES = st.sampled_from(["Drama", "Red", "Old Night"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["post", "change", "delete"]), st.integers(0, 9), TITLES, GENRES),
    max_size=12,
)
QUERIES = ("red lamp", "blue night", "lamp", "red", "night", "la", "bl", "")


def item(number: int, title: str, genre: str) -> Item:
    return Item(f"i{number}", title, attributes={"genre": genre})


def build(items: list[Item]) -> Searcher:
    with tempfile.TemporaryDirectory() as folder:
        return Searcher.build(Catalogue(items), np.zeros(len(items), np.int32), Path(folder) / "w")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TITLES, GENRES), max_size=5), STEPS)
def test_what_is_posted_is_found_as_if_it_had_been_there(first, steps) -> None:
    items = [item(number, title, genre) for number, (title, genre) in enumerate(first)]
    searcher, deleted = build(items), set[int]()
    for kind, number, title, genre in steps:
        if kind == "post" or number >= len(items):
            items.append(item(len(items), title, genre))
            searcher = post(searcher, items[-1])
        elif kind == "change":
            items[number] = item(number, title, genre)
            searcher = searcher.with_late({number: items[number]})
            deleted.discard(number)
        else:
            searcher = searcher.without_items([number])
            deleted.add(number)
    built = build(items).without_items(deleted)
    assert searcher.num_items == built.num_items == len(items)
    for query in QUERIES:
        mine, other = searcher.lexical, built.lexical
        hits = mine.search(query, 99)
        assert set(hits.item_nums) == set(other.search(query, 99).item_nums)
        assert set(mine.having_all(query, 99)) == set(other.having_all(query, 99))
        complete = mine.search(query, 99, needs_all=True)
        assert set(complete.item_nums) == set(mine.having_all(query, 99))
        scores = dict(zip(hits.item_nums.tolist(), hits.scores.tolist(), strict=True))
        expected = [scores[number] for number in complete.item_nums.tolist()]
        assert np.allclose(complete.scores, expected)
        assert searcher.titles.exact(query).tolist() == built.titles.exact(query).tolist()
        assert searcher.titles.completions(query, 99) == built.titles.completions(query, 99)
    for number, one in enumerate(items):
        assert searcher.titles.title(number) == one.title
        assert searcher.titles.key(number) == built.titles.key(number)


def test_an_older_searcher_does_not_see_what_was_posted_later() -> None:
    old = build([item(0, "Red Lamp", "Drama")])
    newer = post(old, item(1, "Blue Night", "Drama"))
    newest = newer.with_late({1: item(1, "Night of Red", "Drama")})
    other = post(newer, item(2, "Lamp", "Old Night"))
    found = [
        [one.search(text, 9).item_nums.tolist() for text in ("the night", "lamp")]
        for one in (old, newer, newest, other)
    ]
    assert [titles[0] for titles in found] == [[], [1], [1], [1, 2]]
    assert [sorted(titles[1]) for titles in found] == [[0], [0], [0], [0, 2]]


def test_thousands_of_posted_titles_are_found_by_prefix_and_by_slip() -> None:
    searcher = build([item(0, "Red Lamp", "Drama")])
    for number in range(1, 400):
        searcher = post(searcher, item(number, f"Title{number:03d} abcdefgh", "Drama"))
    assert searcher.titles.completions("title12", 20) == [*range(120, 130)]
    assert searcher.titles.nearest("title200 abcdefhg") == ["title200 abcdefgh"]
    assert searcher.search("title399 abcdefgh", 1).item_nums.tolist() == [399]
