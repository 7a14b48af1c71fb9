import pytest

from serendip.search.language import find_language, stem, stems


@pytest.mark.parametrize(
    ("word", "language", "expected"),
    [
        ("vegetarians", "english", "~vegetarian"),
        ("the", "english", ""),
        ("vegetarians", "", ""),
        ("m8x40", "english", ""),
        ("東京", "english", ""),
        ("katzen", "german", "~katz"),
        ("제주에서는", "", "~제주"),
        ("제주의", "english", "~제주"),
        ("제주", "", "~제주"),
        ("책을", "", "~책을"),
        ("꽃", "", ""),
    ],
)
def test_a_stem_is_marked_and_in_hangul_without_the_particle(word, language, expected):
    assert stem(word, language) == expected


def test_words_without_a_stem_are_left_out():
    assert stems(["the", "dogs", "of", "war"], "english") == ["~dog", "~war"]


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        (["The Lord of the Rings", "Return of the King"], "english"),
        (["Der Herr der Ringe", "Die Rückkehr des Königs und die zwei Türme"], "german"),
        (["제주의 카페", "겨울의 숲", "우주의 역사"], ""),
        (["Acme Lamp 40W", "Acme Shade"], ""),
        ([], ""),
    ],
)
def test_the_language_of_a_catalogue_is_that_of_its_function_words(texts, language):
    assert find_language(texts) == language
