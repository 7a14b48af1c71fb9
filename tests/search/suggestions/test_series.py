"""Series: what the titles of several items begin with."""

from serendip.search.language import ENGLISH
from serendip.search.suggestions.candidates import find_series


def found(*titles: str) -> dict[str, list[int]]:
    return find_series(titles, ENGLISH)


def test_a_series_is_what_titles_go_on_from_with_a_number_subtitle_or_function_word() -> None:
    titles = ("Rim World", "Rim World 2", "The Sea", "Rim World III", "Rim World: Home")
    assert found(*titles) == {"Rim World": [0, 1, 3, 4]}
    titles = [f"Tom Berry and the {thing}" for thing in ("Stone", "Cup", "Key")]
    assert found(*titles) == {"Tom Berry": [0, 1, 2]}
    assert found("The Man Who Ran", "The Man in White", "The Man", "The Man from Rome") == {}
    assert found("Red Sea", "Red River", "Red Dust", "Red") == {}
    assert found("10 Pack Pens", "10 Pack Cups", "10 Pack Caps") == {}

    titles = ("Star Road: Part 1", "Star Road: Part 2", "Star Road: Part 3", "Star Road: Home")
    assert list(found(*titles)) == ["Star Road"]
    titles = ("Quest: High Seas", "Quest: High Seas 2", "Quest: High Seas 3")
    assert list(found(*titles)) == ["Quest: High Seas"], "one word is too little of a name"
