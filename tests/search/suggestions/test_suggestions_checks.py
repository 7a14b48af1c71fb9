from collections import Counter

import numpy as np
import pytest
from search_world import POPULARITY, films

from serendip.data import Catalogue, Item
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.checks import Blocklist, normal_form, verify_candidates


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    return Searcher.build(films(), POPULARITY, tmp_path_factory.mktemp("q") / "index")


def candidate(text, items, kind="rule", users=0):
    return Candidate(text, kind, "rules", np.array(items, np.int32), users)


def verify(searcher, candidates, unsafe_words=()):
    dropped = Counter()
    passed, results = verify_candidates(candidates, searcher, unsafe_words, dropped)
    return [one.text for one in passed], results, dropped


def test_a_query_must_find_what_it_was_made_from(searcher):
    wrong = candidate("Sci-Fi", [6, 7])
    texts, results, dropped = verify(searcher, [candidate("Action", [0, 1]), wrong])
    assert texts == ["Action"] and dropped == {"not answered": 1}
    assert set(results[0].tolist()) == {0, 1, -1}
    right = candidate("shawshank prison", [11], "written")
    assert verify(searcher, [right, candidate("horse", [0], "written")])[0] == [right.text]


def test_what_people_searched_passes_by_a_choice_or_by_its_words(searcher):
    chosen = candidate("shawshank", [11], "query", 3)
    worded = candidate("action sci fi", [], "query", 3)
    neither = candidate("zebra action", [], "query", 3)
    texts, _, _ = verify(searcher, [chosen, worded, neither])
    assert set(texts) == {"shawshank", "action sci fi"}

    few_found = [0, *range(2, 12)]  # of these, "Action" finds the first alone
    for users, passed in ((0, []), (3, ["Action"])):
        searched = candidate("Action", few_found, "attribute", users=users)
        assert verify(searcher, [searched])[0] == passed


def test_of_queries_that_find_or_say_the_same_one_is_kept(searcher, tmp_path):
    twins = [candidate("Action", [0, 1]), candidate("Sci-Fi", [0, 1], "attribute", users=4)]
    texts, _, dropped = verify(searcher, twins)
    assert texts == ["Sci-Fi"] and dropped == {"same results": 1}

    items = Catalogue(Item(f"i{n}", f"Red Shoe {n}") for n in range(30))
    searcher = Searcher.build(items, np.zeros(30, np.float32), tmp_path / "index")
    pair = [candidate("red shoes", range(30)), candidate("Shoe red", range(30))]
    assert len(verify(searcher, pair)[0]) == 1
    assert normal_form("Red Shoes") == normal_form("shoe red") != normal_form("red boot")


def test_unsafe_words_never_pass_and_settings_add_more(searcher):
    unsafe = Blocklist.of(["Gambling Tips"])
    assert not unsafe.allows("free PORN") and not unsafe.allows("best gambling-tips")
    assert unsafe.allows("grapes of wrath") and unsafe.allows("Therapist") and unsafe.allows("tips")
    assert not unsafe.allows("  ")
    texts, _, dropped = verify(searcher, [candidate("Action", [0, 1])], unsafe_words=("action",))
    assert texts == [] and dropped == {"unsafe": 1}
