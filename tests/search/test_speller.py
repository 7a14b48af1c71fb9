from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_world import film, post, speller_of

from serendip.data import Catalogue, Item
from serendip.search.documents import document_of
from serendip.search.lexical import word_counts
from serendip.search.searcher import Searcher
from serendip.search.spelling import (
    DOUBTFUL,
    Speller,
    WordPairs,
    english_word_frequencies,
    log_typo_probability,
)

TITLES = (
    *("Harry Potter and the Stone", "Harry Potter and the Chamber", "Harry Potter and the Goblet"),
    *("The Otter Family", "Otter Island", "Star Trek", "Star Trek Beyond", "High School Musical"),
    *("The Road", "Blue Velvet", "기생충", "기생춘"),
)


def films() -> Catalogue:
    return Catalogue(film(f"f{row}", title) for row, title in enumerate(TITLES))


@pytest.fixture(scope="module")
def speller() -> Speller:
    catalogue = films()
    counts = word_counts(catalogue)
    documents = map(document_of, catalogue.items)
    return speller_of(counts, documents, english_word_frequencies(), ["velvet"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("harry wotter", "harry potter"),  # neighbours decide
        ("wotter island", "otter island"),
        ("harry otter", "harry otter"),  # a known word gives way only to what they ask for
        ("otter", "otter"),
        ("startrek", "star trek"),  # parted where items have the words side by side
        ("trekstar", "trekstar"),
    ],
)
def test_words_are_corrected_by_their_neighbours(speller, typed, meant):
    assert speller.correct(typed).text == meant


@pytest.mark.parametrize("text", ["pudding", "overrated", "procedural thriller"])
def test_words_of_the_language_are_left_alone(speller, text):
    assert speller.correct(text).text == text
    assert speller.correct(text).confidence == 1.0


def test_a_word_of_the_language_may_be_a_slip_or_two_words():
    counts = {"velvet": 900, "other": 100}
    assert speller_of(counts, language={"velvets": 1e-9}).correct("velvets").text == "velvet"
    assert speller_of(counts, language={"velvets": 1e-4}).correct("velvets").text == "velvets"

    documents = [document_of(film(str(n), "Red T-Shirt")) for n in range(40)]
    counts = dict.fromkeys((w for d in documents for w in (*d.title, *d.body)), 40)
    speller = speller_of(counts, documents)
    assert speller.correct("tshirt").text == "t shirt"
    words = {"and": 900, "lend": 3}
    assert speller_of(words).correct("amd").text == "and"
    assert replace(speller_of(words), stemmed="english").correct("amd").text == "amd"


@pytest.mark.parametrize("text", ["матрыця", "μάτριξ", "ワイヤレスイヤホソ", "r2d2", "2o01"])
def test_other_scripts_and_words_with_digits_stay_as_they_are(speller, text):
    assert speller.correct(text).text == text


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("체식주의자", "채식주의자"),  # the key beside
        ("심리한", "심리학"),  # a wrong final consonant
        ("심리하", "심리학"),  # none
        ("심미학", "심리학"),
        ("작별하지 안는다", "작별하지 않는다"),
        ("제즈의 카페", "제주의 카페"),
        ("어린왕자", "어린 왕자"),
    ],
)
def test_hangul_is_corrected_letter_by_letter(typed, meant):
    titles = ("채식주의자", "심리학의 기본", "작별하지 않는다", "제주의 카페", "어린 왕자")
    documents = [document_of(film(title, title)) for title in titles]
    counts = word_counts(Catalogue(film(title, title) for title in titles))
    assert speller_of(counts, documents).correct(typed).text == meant


@pytest.mark.parametrize("text", ["커피", "커피를", "커피가", "커피에서", "고양이는", "고양이"])
def test_a_word_of_hangul_is_known_with_any_particle(tmp_path, text):
    catalogue = Catalogue([film("a", "커피를 위하여"), film("b", "고양이와 나")])
    one = Searcher.build(catalogue, np.ones(2, np.float32), tmp_path / "s")
    assert one.read(text).corrected_key == text
    assert one.read(text).unknown == ()
    assert len(one.search(text, 2)) == len(one.find_complete(text)) == 1


def test_another_form_of_a_word_is_known_and_found_after_the_word_itself(tmp_path):
    titles = ["The Vegetarian", "A House of Vegetarians", "The Meat and the Bread"]
    catalogue = Catalogue(film(str(row), title) for row, title in enumerate(titles))
    one = Searcher.build(catalogue, np.ones(3, np.float32), tmp_path / "s")
    for text, found in (("vegetarian", [0, 1]), ("vegetarians", [1, 0]), ("meats", [2])):
        assert one.read(text).unknown == ()
        assert one.search(text, 3).item_nums.tolist() == found
        assert set(one.find_complete(text).item_nums.tolist()) == set(found)
    posted = post(one, film("n", "Breads and Butter"))
    assert posted.read("breaded").unknown == ()
    assert posted.search("bread", 3).item_nums.tolist() == [2, 3]


def test_what_no_other_word_of_the_text_speaks_for_is_not_changed_for_sure(speller):
    alone, beside = speller.correct("velvte"), speller.correct("velvte blue")
    assert (alone.text, beside.text) == ("velvet", "velvet blue")
    assert min(alone.confidence, beside.confidence) > 0.9
    lost = speller.correct("velvte otter")
    assert (lost.text, lost.risks_little) == ("velvet otter", False)
    assert speller.correct("velvte blue otter").risks_little
    counts = {"velvet": 900, "otter": 5}
    apart = map(document_of, (Item("v", "Velvet"), Item("o", "Otter")))
    words = speller_of(counts, apart, {"velvets": 1e-9})
    assert words.correct("velvets otter").confidence == DOUBTFUL


def test_slips_beside_function_words_are_corrected_and_rivals_told(tmp_path, speller):
    titles = ("The Vanilla Sky", "Chess for Beginners", "The Road")
    catalogue = Catalogue(film(str(row), title) for row, title in enumerate(titles))
    one = Searcher.build(catalogue, np.ones(3, np.float32), tmp_path / "s")
    assert one.read("vanlla for beginners").corrected_key == "vanilla for beginners"
    assert one.read("beginers in chess").corrected_key == "beginners in chess"

    kept = speller.correct("otker velvet")
    assert (kept.text, kept.confidence, kept.rival) == ("otker velvet", 1.0, "otter velvet")
    assert 0.2 < kept.rival_confidence < 0.5
    assert speller.correct("harry wotter").rival == ""
    assert speller.correct("road").rival == speller.correct("qqqqq").rival == ""
    one = speller_of({"stars": 5}).correct("stats")
    two = speller_of({"stars": 5, "state": 5, "stat": 5}).correct("statx")
    assert one.confidence > 0.9 > 0.6 > two.confidence > 0


@given(st.text(max_size=40))
def test_any_text_is_spelled_and_confidence_is_a_probability(text):
    speller = speller_of({"harry": 3, "potter": 3, "otter": 1})
    spelled = speller.correct(text)
    assert 0 <= spelled.confidence <= 1 + 1e-12


@pytest.mark.parametrize(
    ("often", "seldom"),
    [
        ("natrix", "patrix"),
        ("matrux", "matrzx"),
        ("mattrix", "matkrix"),
        ("matirx", "matgix"),
        ("mxatrix", "xmatrix"),
    ],
)
def test_fingers_slip_to_the_next_key_more_often_than_across_the_board(often, seldom):
    one, other = (log_typo_probability(typed, "matrix", 1) for typed in (often, seldom))
    assert one > other > log_typo_probability("mtraixx", "matrix", 2)


def test_pairs_are_counted_once_per_item():
    documents = [
        document_of(film(str(n), title)) for n, title in enumerate(["a b a b", "a b", "b a"])
    ]
    words = {"a": 0, "b": 1, "drama": 2, "1999": 3, "1990s": 4, "90s": 5}
    pairs = WordPairs.of(documents, words)
    assert (pairs.count("a", "b"), pairs.count("b", "a"), pairs.count("a", "a")) == (2, 2, 0)
    assert pairs.count("a", "nobody") == 0
    assert WordPairs.of([], []).count("a", "b") == 0


def searcher(folder) -> Searcher:
    return Searcher.build(films(), np.ones(len(TITLES), np.float32), folder / "s")


def test_beside_generic_words_a_likely_word_is_searched_and_a_named_title_found(tmp_path):
    titles = ("Under the Lake", "Rain of Tea", "Rain of Rice")
    catalogue = Catalogue(film(str(row), title) for row, title in enumerate(titles))
    one = Searcher.build(catalogue, np.ones(len(titles), np.float32), tmp_path / "index")
    assert one.speller.correct("rainz movies").text == "rainz movies"
    assert one.read("rainz movies").corrected_key == "rain movies"
    assert one.read("lake rainz").corrected_key == "lake rainz"
    for text in ("the movie under the lake", "movie undre the lake"):
        reading = one.read(text)
        assert [*reading.exact, *reading.corrected] == [0]
    assert not len(one.read("the movie lake").exact)


def test_what_titles_go_on_from_is_not_finished_and_nothing_else_is_told(tmp_path):
    texts = {"tie": ["Stars"], "go on": ["Stars", "Starnberg Lake"]}
    told = {}
    for name, titles in texts.items():
        catalogue = Catalogue(film(str(row), title) for row, title in enumerate(titles))
        popularity = np.ones(len(titles), np.float32)
        one = Searcher.build(catalogue, popularity, tmp_path / name)
        told[name] = one.read("starn").told_key
    assert told == {"tie": "stars", "go on": ""}


def test_words_that_stand_side_by_side_in_items_are_no_misspelt_title(tmp_path):
    one = searcher(tmp_path)
    assert one.read("the otter").corrected_key == "the otter"
    assert one.read("star trak").corrected_key == "star trek"
