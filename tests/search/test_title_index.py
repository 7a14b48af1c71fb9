import numpy as np
import pytest
from search_world import POPULARITY, film, films

from serendip.search.titles import TitleIndex, other_names


@pytest.fixture(scope="module")
def titles():
    return TitleIndex.of(films().items, POPULARITY)


def titled(*names, popularity=None):
    weights = np.zeros(len(names)) if popularity is None else np.asarray(popularity)
    items = [film(str(row), name) for row, name in enumerate(names)]
    return TitleIndex.of(items, weights.astype(np.float32))


def test_equal_titles_come_by_popularity(titles):
    assert titles.exact("hamlet").tolist() == [3, 4, 2]


def test_case_accents_and_punctuation_do_not_matter(titles):
    assert titles.exact("THE MATRIX!").tolist() == [0]
    assert titles.exact("schindlers list").tolist() == [6]
    assert titles.exact("$").tolist() == [14]
    assert titles.exact("").tolist() == []


def test_a_title_written_just_so_comes_before_a_more_popular_one():
    index = titled("Suburbia!", "SubUrbia", "subUrbia (x)", popularity=[9, 1, 20])
    assert index.exact("SUBURBIA").tolist() == [1, 0, 2]
    assert index.exact("Suburbia!").tolist() == [0, 1, 2]


def test_a_number_at_the_end_of_a_title_is_found_in_either_notation():
    index = titled("Rocky II", "Toy Story 2", "Rocky 2 Go", "Malcolm X", "II")
    assert index.exact("rocky 2").tolist() == index.exact("Rocky II").tolist() == [0]
    assert index.exact("Toy Story II").tolist() == [1]
    assert index.exact("malcolm 10").tolist() == index.exact("2").tolist() == []


def test_names_in_brackets_are_titles_too(titles):
    assert titles.exact("amelie").tolist() == [5]
    assert titles.exact("Le Fabuleux destin d'Amélie Poulain").tolist() == [5]
    assert other_names("Léon (a.k.a. The Professional)") == ["Léon ", "The Professional"]
    assert other_names("(500) Days of Summer") == []


def test_near_titles_are_found_by_whole_title(titles):
    assert titles.nearest("the matirx") == ["the matrix"]
    assert titles.nearest("rocky 3") == []
    assert titles.nearest("hmalet") == ["hamlet"]
    assert titles.nearest("ham") == []


def test_an_unfinished_title_is_not_taken_for_a_wrong_one():
    index = titled("Batman", "Batman Begins")
    assert index.nearest("batman be") == []
    assert titled("Batman Ba", "Catwoman").nearest("batman be") == ["batman ba"]


def test_two_slips_are_forgiven_in_long_titles_only(titles):
    assert titles.nearest("the shawshenk redemtion") == ["the shawshank redemption"]
    assert titles.nearest("hoxxe") == []


def test_completions_begin_with_the_prefix_first_then_hold_it_at_a_later_word(titles):
    assert titles.completions("ho", 5) == [12, 13]
    assert titles.completions("the ma", 5) == [0, 1]
    assert titles.completions("matrix re", 5) == [1]
    assert titles.completions("atrix", 5) == []


def test_a_slip_in_an_unfinished_title_is_forgiven(titles):
    assert titles.near_completions("matirx", 3) == [0, 1]
    assert titles.near_completions("the shaswh", 3) == [11]
    assert titles.near_completions("mat", 3) == []


def test_a_prefix_of_several_words_begins_at_a_later_word_of_a_title():
    index = titled("Of the old man", "An old man", "Old")
    assert index.completions("the old ma", 5) == [0]
    assert index.completions("old ma", 5) == [1, 0]
    assert index.completions("the young m", 5) == []


def test_a_title_is_found_without_its_article_after_those_that_have_none():
    index = titled("The Ring", "Ring", "A Few Good Men", "I Spy", "L'Avventura", popularity=[9] * 5)
    assert index.exact("ring").tolist() == [1, 0]
    assert index.exact("few good men").tolist() == [2]
    assert index.exact("avventura").tolist() == [4]
    assert index.exact("spy").tolist() == []


def test_a_year_in_brackets_is_no_name():
    assert other_names("Metropolis (2001)") == ["Metropolis "]
    assert titled("Metropolis (2001)").exact("2001").tolist() == []
