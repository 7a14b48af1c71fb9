"""A small catalogue that the tests of this folder search."""

from collections.abc import Iterable, Mapping

import numpy as np

from serendip.data import Catalogue, Item
from serendip.search.documents import Document
from serendip.search.searcher import Searcher
from serendip.search.spelling import EditIndex, Speller, WordCounts, WordPairs, is_hangul, spell_out

TITLES = (
    "The Matrix",
    "The Matrix Reloaded",
    "Hamlet",
    "Hamlet",
    "Hamlet",
    "Amélie (Le Fabuleux destin d'Amélie Poulain)",
    "Schindler's List",
    "커피를 마시다",
    "무선이어폰",
    "ワイヤレスイヤホン",
    "Rocky 2",
    "The Shawshank Redemption",
    "House",
    "The Horse Whisperer",
    "$",
    "",
)
POPULARITY = np.array([300, 90, 5, 50, 20, 40, 80, 1, 2, 3, 30, 200, 9, 8, 1, 0], dtype=np.float32)


def film(item_id: str, title: str, genres: tuple[str, ...] = ("Drama",)) -> Item:
    return Item(item_id, title, attributes={"genres": genres, "year": 1999.0, "price": 9.99})


def films() -> Catalogue:
    genres = (("Action", "Sci-Fi"), ("Action", "Sci-Fi"))
    return Catalogue(
        film(f"f{row}", title, genres[row] if row < 2 else ("Drama",))
        for row, title in enumerate(TITLES)
    )


def post(searcher: Searcher, *items: Item) -> Searcher:
    return searcher.with_late(dict(enumerate(items, searcher.num_items)))


def speller_of(
    counts: Mapping[str, int],
    documents: Iterable[Document] = (),
    language: Mapping[str, float] | None = None,
    titles: Iterable[str] = (),
) -> Speller:
    """A speller of words that so many items have, side by side in documents."""
    hangul = EditIndex.of(map(spell_out, filter(is_hangul, counts)))
    pairs = WordPairs.of(documents, counts)
    parts = (WordCounts.of(counts), EditIndex.of(counts), hangul, pairs)
    return Speller(*parts, language or {}, frozenset(titles))
