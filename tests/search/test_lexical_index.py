import numpy as np
import pytest
from search_world import film, films

from serendip.data import AllowedItems, Catalogue, ItemSet
from serendip.data.item_list import tie_order
from serendip.errors import ArtefactError
from serendip.search.lexical import LexicalIndex


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return LexicalIndex.build(films(), tmp_path_factory.mktemp("words") / "index")


def found(index, text, k=10, allowed=None):
    items = None if allowed is None else AllowedItems(ItemSet(allowed))
    return index.search(text, k, items).item_nums.tolist()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("커피", 7),
        ("이어폰", 8),
        ("イヤホン", 9),
        ("amelie", 5),
        ("SCHINDLERS", 6),
        ("reloaded", 1),
    ],
)
def test_words_are_found_inside_longer_ones_and_without_accents(index, text, number):
    assert found(index, text) == [number]


def test_a_word_in_the_title_counts_more_than_one_in_another_field(tmp_path):
    catalogue = Catalogue([film("a", "One", ("Comedy",)), film("b", "Comedy", ("One",))])
    index = LexicalIndex.build(catalogue, tmp_path)
    assert found(index, "comedy") == [1, 0]


def test_the_syntax_of_a_query_language_is_only_text(index):
    assert found(index, 'title:matrix AND NOT "reloaded"^9 [* TO *]')[:2] == [1, 0]
    assert found(index, "* ? ~ +-(") == []


def test_equal_scores_follow_the_fixed_order(tmp_path):
    catalogue = Catalogue(film(f"i{n}", "Same") for n in range(40))
    index = LexicalIndex.build(catalogue, tmp_path)
    expected = np.argsort(tie_order(40))
    assert found(index, "same", 40) == expected.tolist()
    assert found(index, "same", 7) == expected[:7].tolist()


def test_only_allowed_items_are_answered_even_when_the_best_are_not(tmp_path):
    catalogue = Catalogue(film(f"i{n}", "Same" if n else "Same but longer") for n in range(50))
    index = LexicalIndex.build(catalogue, tmp_path)
    index = index.with_late({50: index.analyse(film("n", "Same"))})
    allowed = np.zeros(50, dtype=np.bool_)
    allowed[0] = True
    assert found(index, "same", 3, allowed) == [0]


def test_a_folder_without_an_index_or_with_one_is_refused(index, tmp_path):
    with pytest.raises(ArtefactError, match="no readable word index"):
        LexicalIndex.open(tmp_path)
    LexicalIndex.build(films(), tmp_path)
    with pytest.raises(ArtefactError, match="already"):
        LexicalIndex.build(films(), tmp_path)
    (tmp_path / "meta.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArtefactError):
        LexicalIndex.open(tmp_path)
