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


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("hamlet", [3, 4, 2]),  # by popularity
        ("THE MATRIX!", [0]),
        ("schindlers list", [6]),
        ("$", [14]),
        ("", []),
        ("amelie", [5]),  # in brackets
        ("Le Fabuleux destin d'Amélie Poulain", [5]),
    ],
)
def test_case_accents_and_punctuation_of_a_title_do_not_matter(titles, text, items):
    assert titles.exact(text).tolist() == items


def test_titles_are_found_as_they_are_written_in_either_notation_and_without_brackets():
    index = titled("Suburbia!", "SubUrbia", "subUrbia (x)", popularity=[9, 1, 20])
    assert index.exact("SUBURBIA").tolist() == [1, 0, 2]
    assert index.exact("Suburbia!").tolist() == [0, 1, 2]

    index = titled("Rocky II", "Toy Story 2", "Rocky 2 Go", "Malcolm X", "II")
    assert index.exact("rocky 2").tolist() == index.exact("Rocky II").tolist() == [0]
    assert index.exact("Toy Story II").tolist() == [1]
    assert index.exact("malcolm 10").tolist() == index.exact("2").tolist() == []

    assert other_names("Léon (a.k.a. The Professional)") == ["Léon ", "The Professional"]
    assert other_names("(500) Days of Summer") == []
    assert other_names("Metropolis (2001)") == ["Metropolis "]
    assert titled("Metropolis (2001)").exact("2001").tolist() == []


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("the matirx", ["the matrix"]),
        ("rocky 3", []),
        ("hmalet", []),  # a word, which the speller corrects
        ("the shawshenk redemtion", ["the shawshank redemption"]),  # two slips in a long title
        ("hoxxe", []),
    ],
)
def test_near_titles_are_found_by_whole_title(titles, key, near):
    assert titles.nearest(key) == near


def test_an_unfinished_title_is_not_taken_for_a_wrong_one():
    index = titled("Batman", "Batman Begins")
    assert index.nearest("batman be") == []
    assert titled("Batman Ba", "Catwoman").nearest("batman be") == ["batman ba"]
