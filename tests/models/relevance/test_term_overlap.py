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
def test_overlaps_are_those_of_the_sets(items, query, places) -> None:
    titles = [title for title, _ in items]
    texts = [title | more for title, more in items]
    numbers = np.array([number % len(items) for number in places], np.int32)
    overlap = TermOverlap.of(titles, texts)
    titles_of = overlap.titles.take(numbers)
    overlaps = overlap.overlaps(query, overlap.match_texts(query, numbers), titles_of)
    assert overlaps.shape == (len(numbers), len(OVERLAPS))

    def idf(word: str) -> float:
        having = sum(word in text for text in texts)
        return float(np.log(len(texts) / having if having else len(texts) + 1))

    total = sum(map(idf, query))
    assert np.isclose(overlap.total_idf(query), total, atol=1e-5)
    for row, number in zip(overlaps, numbers.tolist(), strict=True):
        title, text = titles[number], texts[number]
        expected = [
            sum(map(idf, query & title)) / (total or 1),
            sum(map(idf, query & text)) / (total or 1),
            len(query & title) / max(1, len(query | title)),
            max(map(idf, query & text), default=0.0),
        ]
        np.testing.assert_allclose(row, expected, atol=1e-5)


@given(
    st.lists(st.tuples(words, words), min_size=1, max_size=6),
    st.sets(st.sampled_from("abcdefghxyz"), max_size=5),
)
def test_shares_of_a_sample_are_those_of_its_texts(items, query) -> None:
    overlap = TermOverlap.of([title for title, _ in items], [a | b for a, b in items])
    for step in (1, 2):
        sample = np.arange(0, len(items), step, dtype=np.int32)
        postings = overlap.postings.restrict(sample, len(items))
        shares = overlap.share_sums(query, postings, len(sample))
        np.testing.assert_array_equal(shares, overlap.match_texts(query, sample).shares)


def test_terms_of_feedback_titles_count_by_weight_and_idf() -> None:
    titles = [{"red", "lamp"}, {"blue", "lamp"}, {"rug"}, {"lamp"}, set()]
    overlap = TermOverlap.of(titles, titles)
    rare, common = np.log(5 / 1), np.log(5 / 3)
    weights = np.array([[0.75, 0.25], [1.0, 0.0]])
    shares, of_the_first = overlap.with_titles(np.array([0, 1]), weights, overlap.titles)
    total = rare + common
    expected = [
        (0.75 * rare + common) / total / np.sqrt(3),
        (0.25 * rare + common) / total / np.sqrt(3),
        0,
        common / total / np.sqrt(2),
        0,
    ]
    np.testing.assert_allclose(shares, expected, rtol=1e-5)
    assert of_the_first[0] == np.float32(1 / np.sqrt(3))


def test_sums_are_the_same_in_every_process() -> None:
    """Sets of words have another order in each; terms are numbered and summed by their own."""
    texts = [{"zebra", "apple", "kiwi"}, {"kiwi", "banana", "apple"}]
    overlap = TermOverlap.of(texts, texts)
    assert list(overlap.numbers) == ["apple", "kiwi", "zebra", "banana"]
    assert overlap.titles.terms.tolist() == [0, 1, 2, 0, 1, 3]
