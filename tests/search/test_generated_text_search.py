from dataclasses import replace
from pathlib import Path

from search_world import POPULARITY, films

from serendip.data import Catalogue
from serendip.search.searcher import Searcher

GENERATED = {2: "tragedy, Danish prince", 9: "무선헤드폰, headphones", 1: "tragedy tragedy"}


def described() -> Catalogue:
    items = list(films().items)
    for number, text in GENERATED.items():
        items[number] = replace(items[number], generated_text=text)
    return Catalogue(items)


def searcher(catalogue: Catalogue, folder: Path) -> Searcher:
    return Searcher.build(catalogue, POPULARITY, folder / "words")


def found(opened: Searcher, text: str) -> list[int]:
    return opened.search(text, 10).item_nums.tolist()


def test_generated_words_are_found_in_every_script(tmp_path: Path) -> None:
    opened = searcher(described(), tmp_path)
    assert found(opened, "danish") == [2]
    assert set(found(opened, "tragedy")) == {1, 2}
    assert found(opened, "headphones") == [9]
    assert found(opened, "헤드폰") == [9]


def test_generated_words_are_known_and_nothing_is_corrected_to_them(tmp_path: Path) -> None:
    opened = searcher(described(), tmp_path)
    assert opened.correct_text("headphones") == ""
    assert opened.correct_text("headphonez") == ""
    assert opened.correct_text("reloadet") == "reloaded"


def test_an_item_posted_again_loses_the_words_until_they_are_trained_again(tmp_path: Path) -> None:
    opened = searcher(described(), tmp_path)
    changed = opened.with_late({2: films()[2]})
    assert found(changed, "danish") == []
    assert found(changed, "hamlet")
    back = changed.with_late({2: described()[2]})
    assert found(back, "danish") == [2]
