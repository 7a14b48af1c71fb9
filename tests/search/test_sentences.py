from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data import Catalogue, Item
from serendip.search.names import ValueTable
from serendip.search.searcher import Searcher
from serendip.search.sentences import ANYTHING, find_wished, is_spoken, without_speech

TITLES = ("Heat", "I Am Legend", "It Could Happen to You", "You Me and Everyone", "Lake House")


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    catalogue = Catalogue(
        Item(f"f{row}", title, "you will love it", {"genres": ("Comedy",), "cast": ("Al Pace",)})
        for row, title in enumerate(TITLES)
    )
    folder = Path(tmp_path_factory.mktemp("sentences")) / "index"
    searcher = Searcher.build(catalogue, np.zeros(len(TITLES), np.float32), folder)
    return replace(searcher, values=ValueTable.of(catalogue, np.ones(len(TITLES), np.float32)))


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Hi, can you recommend a funny movie?", "funny movie"),
        ("I'm in the mood for a comedy with Al Pace", "comedy al pace"),
        ("I loved Lake House (2006), do you have others?", "lake house"),
        ("looking for a gift", "gift"),
        ("can you suggest a comedy for the weekend", "comedy"),
        ("I'm looking for a weekend bag", "weekend bag"),
        ("what should I watch tonight?", ANYTHING),
        ("I'm looking for a watch and an evening dress", "watch evening dress"),
        ("I love love stories", "love stories"),
        ("do you know any good movies", ANYTHING),
        # not said to anybody: queries, titles, their beginnings and words of them
        ("a gift for my mother", "a gift for my mother"),
        ("comedy", "comedy"),
        ("I am legend", "I am legend"),
        ("it could happen", "it could happen"),
        ("you me", "you me"),
        ("everyone and you me", "everyone and you me"),
        ("it could happen to you poster", "it could happen to you poster"),
        ("i am legnd", "i am legnd"),
        ("", ""),
    ],
)
def test_a_sentence_asks_for_its_words_about_items(
    searcher: Searcher, text: str, asked: str
) -> None:
    assert searcher.reader.find_asked(text) == asked


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Hello! I want something like Heat (1995), not too long", 0),
        ("can you suggest movies similar to lake house", 4),
        ("do you know any funny films like Heat?", 0),
        ("I saw it, do you know any movies like it?", -1),
        ("we are looking for movies like Heat with more action", 0),
        ("I like fish", -1),
    ],
)
def test_a_sentence_asks_for_others_like_one(searcher: Searcher, text: str, number: int) -> None:
    assert searcher.reader.find_liked(text) == number


def test_names_stay_whole_and_talk_is_told_from_items() -> None:
    known = {"to have and have not", "you and me", "nice", "sky love"}
    text = "please show me To Have and Have Not, you and me, nice sky love (1990) or Sky"
    assert without_speech(text, known.__contains__) == "to have and have not sky love sky"
    assert find_wished("i need a thing like you and me", known.__contains__) == ""
    assert find_wished("i need a thing like sky love and rain", known.__contains__) == "sky love"
    assert [text for text in SPOKEN.split("; ") if not is_spoken(text)] == []
    assert [text for text in WRITTEN.split("; ") if is_spoken(text)] == []


@given(st.text(st.sampled_from("ab i?(1)9-'éم할 "), max_size=30))
def test_any_text_has_an_answer(text: str) -> None:
    assert without_speech(f"{text} one two three four", lambda name: False)
    assert isinstance(find_wished(f"i want one like {text}", lambda name: True), str)


SPOKEN = (
    "i want; can you; show me; Hi, what's new; looking for a hat; What is good?; hats, please; "
)
SPOKEN += "any suggestions; I'm cold; thank you, but no"
WRITTEN = (
    "only you; you me at six; despicable me toys; my little pony; us open; hi-fi set; us plug; "
)
WRITTEN += "hello kitty backpack; hey dude shoes; hi vis jacket; thank you cards; suggestion box; "
WRITTEN += "u type neck pillow; well pumps; help desk headset; ceiling fan"


def test_words_of_items_stay_in_a_sentence() -> None:
    for wanted in ("fan", "saw", "mood lamp", "name tags", "right handed scissors", "well pumps"):
        assert without_speech(f"do you have a {wanted}?", lambda name: False) == wanted
    titles = {"the help", "it", "say anything", "books"}
    assert without_speech("I want to see The Help", titles.__contains__) == "the help"
    assert without_speech("do you have say anything", titles.__contains__) == "say anything"
    assert without_speech("I want to watch It tonight", titles.__contains__) == "it"
    assert without_speech("I want to watch it tonight", titles.__contains__) == ANYTHING
    assert without_speech("I am looking for books", titles.__contains__) == "books"
    assert without_speech("I don't like horror, something funny", lambda name: False) == "funny"
    assert without_speech("i want", lambda name: False) == ""
