import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_world import POPULARITY, film, films, post

from serendip.search.searcher import Searcher
from serendip.search.suggestions.completions import Suggested, Suggester
from serendip.search.values import ValueTable


@pytest.fixture(scope="module")
def suggester(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suggest") / "index"
    searcher = Searcher.build(films(), POPULARITY, folder)
    return Suggester(searcher.with_values(ValueTable.of(films().items)))


def texts(suggester, prefix, k=5):
    return [one.text for one in suggester.suggest(prefix, k)]


def test_titles_that_begin_with_the_prefix_come_before_those_with_a_later_word(suggester):
    assert texts(suggester, "ho") == ["House", "The Horse Whisperer"]
    assert suggester.suggest("ho")[0] == Suggested("House", "title", 12)


def test_attribute_values_come_first_with_their_counts(suggester):
    assert suggester.suggest("dra")[0] == Suggested("Drama", "attribute", -1, 14)
    assert texts(suggester, "sci")[0] == "Sci-Fi"
    assert texts(suggester, "fi")[0] == "Sci-Fi"


def test_nothing_typed_gives_the_most_popular_titles(suggester):
    popular = ["The Matrix", "The Shawshank Redemption", "The Matrix Reloaded"]
    assert texts(suggester, "", 3) == texts(suggester, "  ", 3) == popular


def test_a_slip_is_forgiven_where_nothing_else_matches(suggester):
    assert {one.kind for one in suggester.suggest("matirx")} == {"spelling"}
    assert texts(suggester, "matirx") == ["The Matrix", "The Matrix Reloaded"]
    assert texts(suggester, "shawshenk rede") == ["The Shawshank Redemption"]
    assert texts(suggester, "the shwash") == ["The Shawshank Redemption"]


def test_words_inside_longer_ones_are_completed_in_scripts_without_spaces(suggester):
    assert texts(suggester, "이어폰") == ["무선이어폰"]
    assert texts(suggester, "イヤホン") == ["ワイヤレスイヤホン"]


def test_equal_titles_are_suggested_once_with_the_most_popular_item(suggester):
    assert suggester.suggest("haml") == [Suggested("Hamlet", "title", 3)]


@pytest.mark.parametrize(("k", "count"), [(0, 0), (-1, 0), (1, 1), (2, 2)])
def test_at_most_k_are_given(suggester, k, count):
    assert len(suggester.suggest("the", k)) == count


def test_deleted_items_and_values_without_items_are_not_suggested(suggester):
    gone = Suggester(suggester.searcher.without_items([0, 1, 12]))
    assert texts(gone, "ho") == ["The Horse Whisperer"]
    assert texts(gone, "sci") == []
    assert texts(gone, "matirx") == []
    assert "The Matrix" not in texts(gone, "", 20)


def test_posted_items_are_suggested(suggester):
    items = [film("n", "Zebra", ("Nature",)), film("m", "Zoo", ("Nature",))]
    newer = Suggester(post(suggester.searcher, *items))
    assert texts(newer, "zeb") == ["Zebra"]
    assert newer.suggest("nat")[0] == Suggested("Nature", "attribute", -1, 2)
    assert texts(suggester, "nat") == []


@settings(max_examples=200, deadline=None)
@given(prefix=st.text(st.characters(codec=None), max_size=30))
def test_every_suggestion_finds_something_and_none_comes_twice(suggester, prefix):
    found = suggester.suggest(prefix, 6)
    assert len({one.text for one in found}) == len(found)
    for one in found:
        assert len(suggester.searcher.search(one.text, 1)) == 1


@pytest.mark.parametrize("prefix", ["s", "t", "m", "h", "ma", "the", "dr", "mat", "커"])
def test_what_is_suggested_while_typing_finds_something(suggester, prefix):
    found = suggester.suggest(prefix, 6)
    assert found
    for one in found:
        first = suggester.searcher.search(one.text, 1).item_nums[0]
        assert one.kind == "attribute" or one.item_num == first
