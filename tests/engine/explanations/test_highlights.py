import pytest

from serendip.engine.explanations.highlights import find_highlights


def mark(title: str, searched: str, language: str = "english") -> str:
    (places,) = find_highlights([title], searched, language)
    assert list(places) == sorted(places)
    for begin, end in reversed(places):
        title = f"{title[:begin]}[{title[begin:end]}]{title[end:]}"
    return title


@pytest.mark.parametrize(
    ("title", "searched", "expected"),
    [
        ("The Red Chair", "red chair", "The [Red] [Chair]"),
        ("RED-CHAIRS, 2 pieces", "red chair", "[RED]-[CHAIRS], 2 pieces"),  # capitals, a stem
        ("Vegetarians", "vegetarian", "[Vegetarians]"),
        ("A redder hat", "red", "A redder hat"),
        ("Amélie", "amelie", "[Amélie]"),
        ("AMELIE", "amélie", "[AMELIE]"),
        ("Straße 7", "STRASSE", "[Straße] 7"),
        ("Don't Look Up", "dont", "[Don't] Look Up"),
        ("Don’t Look Up", "don't look", "[Don’t] [Look] Up"),
        ("겨울 양말을 신다", "양말", "겨울 [양말을] 신다"),  # a particle
        ("겨울양말 세트", "양말", "겨울[양말] 세트"),
        ("夏の靴下", "靴下", "夏の[靴下]"),
        ("Snake_case red_chair", "red", "Snake_case [red]_chair"),
        ("Toy Story 2", "2", "Toy Story [2]"),
        ("Nothing here", "!?", "Nothing here"),
        ("", "red", ""),
    ],
)
def test_words_of_the_search_are_marked_in_the_title(
    title: str, searched: str, expected: str
) -> None:
    assert mark(title, searched) == expected
