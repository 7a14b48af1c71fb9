import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_world import POPULARITY, TITLES, film, films, post

from serendip.data import AllowedItems, Catalogue, Item, ItemSet
from serendip.data.artefact import VALUE_FILE
from serendip.data.text import title_key
from serendip.errors import ArtefactError, DataError
from serendip.search.searcher import TABLES_FOLDER, Searcher
from serendip.search.understanding import TITLED


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "index"
    return Searcher.build(films(), POPULARITY, folder)


def found(searcher, text, k=10, allowed=None):
    items = None if allowed is None else AllowedItems(ItemSet(allowed))
    return searcher.search(text, k, items).item_nums.tolist()


@pytest.mark.parametrize("title", sorted({title for title in TITLES if title}))
def test_the_first_hit_bears_exactly_the_searched_title(searcher, title):
    hits = searcher.search(title, 5)
    assert TITLES[hits.item_nums[0]] == title
    assert hits.fields["title_match"][0] == 1.0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("the matirx", 0),
        ("matrix reloded", 1),
        ("Shindler's List", 6),
        ("the shawshenk redemtion", 11),
        ("shawshenk", 11),
        ("hamlte", 3),
        ("무선 이어폰", 8),
    ],
)
def test_slips_are_forgiven(searcher, text, number):
    assert found(searcher, text)[0] == number


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("the matirx", "The Matrix"),
        ("shawshenk", "shawshank"),
        *((text, "") for text in ("horse", "The Matrix", "the matr", "")),
    ],
)
def test_what_was_meant_is_told_as_it_is_written(searcher, text, told):
    assert searcher.correct_text(text) == told


def test_a_deleted_item_is_never_answered_until_it_is_posted_again(searcher):
    gone = post(searcher, film("n", "Matrix Four")).without_items([0, 16])
    back = gone.with_late({0: film("f0", "The Matrix")})
    for text in ("The Matrix", "the matirx", "matrix", "Matrix Four", "matrix f", "qqqq"):
        assert not {0, 16} & set(found(gone, text, 50))
    for text in ("The Matrix", "the matirx", "matrix"):
        assert found(back, text)[0] == 0


def test_another_catalogue_than_the_indexed_one_is_refused(tmp_path):
    Searcher.build(films(), POPULARITY, tmp_path)
    fewer = Catalogue(films().items[:3])
    with pytest.raises(ArtefactError, match="indexes 16 items, the catalogue has 3"):
        Searcher.open(tmp_path, fewer, POPULARITY[:3])
    with pytest.raises(DataError, match="3 popularities for 16 items"):
        Searcher.open(tmp_path, films(), POPULARITY[:3])
    (tmp_path / TABLES_FOLDER / VALUE_FILE).unlink()
    with pytest.raises(ArtefactError, match="no readable SearchTables"):
        Searcher.open(tmp_path, films(), POPULARITY)


def test_it_works_without_items(tmp_path):
    empty = Searcher.build(Catalogue([]), np.empty(0, dtype=np.float32), tmp_path)
    assert found(empty, "matrix") == []
    newer = post(empty, film("a", "Matrix"))
    assert found(newer, "matrix") == [0]


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(codec=None), max_size=60))
def test_no_text_breaks_the_search(searcher, text):
    hits = searcher.search(text, 5)
    assert np.isfinite(hits.scores).all()
    assert set(hits.fields) == {"bm25", "match", "title_match"}
    searcher.correct_text(text)


@settings(max_examples=50, deadline=None)
@given(title=st.text(st.characters(codec=None), min_size=1, max_size=40))
def test_any_posted_title_is_found_by_the_same_text(searcher, title):
    newer = post(searcher, film("n", title))
    if title_key(title):  # an accent alone has none
        assert 16 in found(newer, title, 20)


def test_what_has_a_text_of_several_words_in_its_title_leads(tmp_path):
    texts = ("tells of monty python", "")
    rows = [("Grail", texts[0])] * 3 + [("Life of Monty Python", texts[1])]
    items = [Item(f"m{row}", title, text) for row, (title, text) in enumerate(rows)]
    popularity = np.array([9, 9, 9, 1], np.float32)
    monty = Searcher.build(Catalogue(items), popularity, tmp_path / "index")
    assert found(monty, "monty python")[0] == 3
    assert monty.search("monty python", 1).fields["match"].tolist() == [np.float32(TITLED)]


def test_a_wish_may_end_in_the_middle_and_a_general_word_asks_for_nothing(tmp_path, searcher):
    items = [Item("a", "Good Will Hunting"), Item("b", "Heat"), Item("c", "The Good Earth")]
    few = Searcher.build(Catalogue(items), np.array([1, 9, 1], np.float32), tmp_path / "index")
    assert few.read("good films").content.is_whole
    assert not few.read("good will").content.is_whole
    assert found(few, "good will")[0] == 0
    assert found(searcher, "keqxxpk movie") == found(searcher, "movie keqxxpk") == []


def test_the_words_of_a_text_that_an_item_has(searcher):
    item = films()[1]
    assert searcher.find_held("matrix reloaded", item) == ("matrix reloaded", True)
    assert searcher.find_held("matrix tax form", item) == ("matrix", False)
    assert searcher.find_held("tax form", item) == ("", False)
    assert searcher.find_held("커피", films()[7]) == ("커피", True)
