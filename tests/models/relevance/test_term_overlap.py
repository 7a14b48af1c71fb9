"""Words in common, counted at once, are what counting one by one gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.models.relevance.term_overlap import OVERLAPS, TermOverlap

words = st.sets(st.sampled_from("abcdefgh"), max_size=5)


@given(
    st.lists(st.tuples(words, words), min_size=1, max_size=6),
    st.sets(st.sampled_from("abcdefghxyz"), max_size=5),
    st.lists(st.integers(0, 5), max_size=8),
)
def test_overlaps_are_those_of_the_sets(items, query, asked) -> None:
    titles = [title for title, _ in items]
    texts = [title | more for title, more in items]
    numbers = np.array([number % len(items) for number in asked], np.int32)
    overlap = TermOverlap.of(titles, texts)
    found = overlap.of_query(query, numbers)
    assert found.shape == (len(numbers), len(OVERLAPS))

    def rarity(word: str) -> float:
        having = sum(word in text for text in texts)
        return float(np.log(len(texts) / having if having else len(texts) + 1))

    total = sum(map(rarity, query))
    assert np.isclose(overlap.total(query), total, atol=1e-5)
    for row, number in zip(found, numbers.tolist(), strict=True):
        title, text = titles[number], texts[number]
        expected = [
            sum(map(rarity, query & title)) / (total or 1),
            sum(map(rarity, query & text)) / (total or 1),
            len(query & title) / max(1, len(query | title)),
            max(map(rarity, query & text), default=0.0),
        ]
        np.testing.assert_allclose(row, expected, atol=1e-5)


@given(
    st.lists(st.tuples(words, words), min_size=1, max_size=6),
    st.sets(st.sampled_from("abcdefghxyz"), max_size=5),
)
def test_words_in_all_texts_at_once_are_those_in_each(items, query) -> None:
    overlap = TermOverlap.of([title for title, _ in items], [a | b for a, b in items])
    every = np.arange(len(items), dtype=np.int32)
    found = overlap.of_query(query, every)
    at = OVERLAPS.index
    np.testing.assert_allclose(overlap.in_texts(query), found[:, at("in text")], atol=1e-5)
    np.testing.assert_allclose(overlap.in_title(query, every), found[:, at("in title")], atol=1e-5)


def test_what_titles_have_in_common_counts_by_their_weights() -> None:
    titles = [{"red", "lamp"}, {"blue", "lamp"}, {"rug"}, {"lamp"}, set()]
    overlap = TermOverlap.of(titles, titles)
    rare, common = np.log(5 / 1), np.log(5 / 3)
    found = overlap.of_items(np.array([0, 1]), np.array([0.75, 0.25]), np.arange(5))
    total = rare + common
    expected = [
        (0.75 * rare + common) / total / np.sqrt(3),
        (0.25 * rare + common) / total / np.sqrt(3),
        0,
        common / total / np.sqrt(2),
        0,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
