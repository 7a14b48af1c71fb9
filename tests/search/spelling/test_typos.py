import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA
from search_world import speller_of

from serendip.search.spelling.typos import EditIndex

SHORT = st.text("abc ", min_size=1, max_size=8)


@given(st.sets(SHORT, max_size=30), SHORT)
def test_exactly_the_strings_one_edit_away_are_found(strings, query):
    expected = {one for one in strings if OSA.distance(query, one) == 1}
    assert {one for _, one in EditIndex.of(strings).near(query, 1)} == expected


@given(st.sets(SHORT, max_size=30), st.text("abc ", min_size=3, max_size=8))
def test_two_edits_find_only_strings_within_two(strings, query):
    for distance, one in EditIndex.of(strings).near(query, 2):
        assert one in strings
        assert distance == OSA.distance(query, one) <= 2


@pytest.mark.parametrize("typo", ["shawshenk", "sahwshank", "shawshan", "sshawshank", "shawhsank"])
def test_every_kind_of_slip_is_corrected(typo):
    assert speller_of({"shawshank": 1, "redemption": 1}).correct_text(typo) == "shawshank"


def test_known_short_and_numbered_words_are_left_alone():
    speller = speller_of({"house": 3, "rocky": 1, "war": 2, "1999": 1})
    assert speller.correct_text("House wat 1998") == "house wat 1998"


def test_the_more_frequent_of_two_near_words_wins():
    assert speller_of({"stare": 1, "stars": 9}).correct_text("starz") == "stars"


def test_two_slips_are_corrected_in_long_words_only():
    speller = speller_of({"catastrophic": 1, "alien": 1})
    assert speller.correct_text("catasrtophci") == "catastrophic"
    assert speller.correct_text("alxxn") == "alxxn"


def test_words_of_posted_items_are_known():
    speller = replace(speller_of({"matrix": 1}), posted=frozenset(["matrox"]))
    assert speller.knows("matrox")
    assert speller.correct_text("matrox") == "matrox"


def test_a_large_vocabulary_still_answers():
    letters = string.ascii_lowercase
    strings = {f"aa{x}{y}{z}" for x in letters for y in letters for z in letters}
    near = EditIndex.of(strings).near("aabcdd", 1)
    assert (1, "aabcd") in near
