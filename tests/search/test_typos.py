from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA
from search_world import speller_of

from serendip.search.spelling import EditIndex

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


def test_two_slips_are_corrected_in_long_words_only():
    speller = speller_of({"catastrophic": 1, "alien": 1})
    assert speller.correct_text("catasrtophci") == "catastrophic"
    assert speller.correct_text("alxxn") == "alxxn"
