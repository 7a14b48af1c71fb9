from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_world import POPULARITY, films

from serendip.engine.query_suggestions import find_completions
from serendip.search.names import ValueTable
from serendip.search.searcher import Searcher


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suggest") / "index"
    searcher = Searcher.build(films(), POPULARITY, folder)
    return replace(searcher, values=ValueTable.of(films().items))


def texts(searcher, prefix, k=5):
    return [one.text for one in find_completions(searcher, prefix, k)]


def first(searcher, prefix):
    one = find_completions(searcher, prefix)[0]
    return one.text, one.kind, len(one.items)


def test_titles_and_values_are_completed_in_their_order(searcher):
    assert texts(searcher, "ho") == ["House", "The Horse Whisperer"]
    assert first(searcher, "ho") == ("House", "title", 1)
    assert first(searcher, "dra") == ("Drama", "attribute", 10)
    assert texts(searcher, "sci")[0] == "Sci-Fi"
    assert texts(searcher, "fi")[0] == "Sci-Fi"
    popular = ["The Matrix", "The Shawshank Redemption", "The Matrix Reloaded"]
    assert texts(searcher, "", 3) == texts(searcher, "  ", 3) == popular


def test_slips_are_forgiven_and_scripts_without_spaces_completed(searcher):
    assert {one.kind for one in find_completions(searcher, "matirx")} == {"spelling"}
    assert texts(searcher, "matirx") == ["The Matrix", "The Matrix Reloaded"]
    assert texts(searcher, "shawshenk rede") == ["The Shawshank Redemption"]
    assert texts(searcher, "the shwash") == ["The Shawshank Redemption"]
    assert texts(searcher, "이어폰") == ["무선이어폰"]
    assert texts(searcher, "イヤホン") == ["ワイヤレスイヤホン"]


def test_titles_with_items_are_suggested_once(searcher):
    assert [(one.text, one.items.tolist()) for one in find_completions(searcher, "haml")] == [
        ("Hamlet", [3])
    ]

    gone = searcher.without_items([0, 1, 12])
    assert texts(gone, "ho") == ["The Horse Whisperer"]
    assert texts(gone, "sci") == []
    assert texts(gone, "matirx") == []
    assert "The Matrix" not in texts(gone, "", 20)


@settings(max_examples=200, deadline=None)
@given(prefix=st.text(st.characters(codec=None), max_size=30))
def test_every_suggestion_finds_something_and_none_comes_twice(searcher, prefix):
    found = find_completions(searcher, prefix, 6)
    assert len({one.text for one in found}) == len(found)
    for one in found:
        assert len(searcher.search(one.text, 1)) == 1


@pytest.mark.parametrize(("k", "count"), [(0, 0), (-1, 0), (1, 1), (2, 2)])
def test_at_most_k_are_given(searcher, k, count):
    assert len(find_completions(searcher, "the", k)) == count
