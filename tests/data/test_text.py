import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_world import film

from serendip.data.items.catalogue import Item
from serendip.data.text import fold, grams, normalise, query_grams, title_key, tokens
from serendip.search.documents import MAX_QUERY_TERMS, document_of, query_terms

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Amélie", "amelie"),
        ("AME\u0301LIE", "amelie"),
        ("Schindler's  List", "schindlers list"),
        ("Don\u2019t!", "dont"),
        ("Fast & Furious", "fast and furious"),
        ("Straße Łódź Ærø", "strasse lodz aero"),
        ("İstanbul ıssız", "istanbul issiz"),
        ("ＦＵＬＬ　ｗｉｄｔｈ", "full width"),
        ("ｲﾔﾎﾝ", "イヤホン"),
        ("が", "が"),
        (unicodedata.normalize("NFD", "커피"), "커피"),
        ("Spider-Man: Far/Home", "spider man far home"),
        ("soft\u00adhyphen \u202eleft", "softhyphen left"),
        ("\x00a\ud800b", "a b"),
        ("ไม้", "ไม้"),
        ("רֹאשׁ־ׇ", "ראש"),
        ("قٰـؚؐلًٟۭۖ", "قـل"),
        ("а҃б҉", "аб"),
        ("a\u1ab0b\u1affc\u1dc0d\u1dffe", "abcde"),
        ("x\u20d0y\u20ffz", "xyz"),
        ("a\ufe00b\ufe0fc\ufe20d\ufe2fe", "abcde"),
        ("葛\U000e0100城\U000e01ef", "葛城"),
        ("😀 ❤️", ""),
        ("", ""),
    ],
)
def test_text_is_reduced_to_the_words_that_people_type(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  A  Café\tin JEJU! ", "a cafe in jeju!"),
        ("Ａ ｃａｆｅ́　ｉｎ Jeju\u200b!", "a cafe in jeju!"),
        ("Don\u2019t & Do", "don\u2019t & do"),
        (unicodedata.normalize("NFD", "제주의 카페"), "제주의 카페"),
        ("ガラス", "ガラス"),
        ("", ""),
    ],
)
def test_a_folded_text_keeps_its_signs(text, expected):
    assert fold(text) == expected


@given(ANY_TEXT)
def test_folding_twice_changes_nothing_and_spares_no_word(text):
    assert fold(fold(text)) == fold(text)
    assert normalise(fold(text)) == normalise(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7*9", "7x9"),
        ("M8 x 40", "m8x40"),
        ("7 × 9 × 2", "7x9x2"),
        ("61* 2001", "61 2001"),
        ("61 *2001", "61 2001"),
        ("2 * 3", "2 3"),
        ("Malcolm X 1992", "malcolm x 1992"),
    ],
)
def test_a_sign_of_times_joins_the_numbers_of_a_measure(text, expected):
    assert normalise(text) == expected


def test_words_of_scripts_without_spaces_are_split_and_documents_have_bigrams():
    assert tokens("iPhone15케이스 black") == ["iphone15", "케이스", "black"]

    assert grams("커피를") == ["커", "피", "를", "커피", "피를"]
    assert query_grams("커피") == ["커피"]
    assert query_grams("꽃") == ["꽃"]
    assert grams("only latin") == query_grams("only latin") == []


def test_a_title_of_signs_only_keeps_its_signs_as_key():
    assert title_key(" $  ! ") == "$ !"
    assert title_key("$a") == "a"


@given(ANY_TEXT)
def test_no_text_raises_and_normal_forms_are_clean(text):
    normal = normalise(text)
    assert "\x00" not in normal
    assert normal == " ".join(normal.split())
    normal.encode("utf-8")
    assert all(word and " " not in word for word in tokens(text))
    assert query_terms(text) == query_terms(normal)


def test_bodies_have_what_is_said_of_an_item_and_long_texts_are_cut():
    assert len(normalise("a" * 50_000)) == 10_000
    assert len(tokens("a" * 50_000)[0]) == 64
    assert len(normalise("\ufdfa" * 20_000)) <= 10_000
    assert len(query_terms(" ".join(f"w{n}" for n in range(5_000)))) == 2 * MAX_QUERY_TERMS

    document = document_of(film("x", "The Matrix", ("Sci-Fi",)))
    assert document.title == ["the", "matrix"]
    assert document.body == ["sci", "fi", "1999", "1990s", "90s"]
    only_year = document_of(film("x", "A", ("Sci-Fi",)), fields=("year",))
    assert only_year.body == ["1999", "1990s", "90s"]
    attributes = {"cover": "covers/the-matrix.JPG", "clip": "https://x.org/a.mp3", "by": "U. N."}
    item = Item("x", "The Matrix", attributes={**attributes, "note": "scan.png and more"})
    assert document_of(item).body == ["u", "n", "scan", "png", "and", "more"]
