from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from search_world import post

from serendip.data import Catalogue, Item
from serendip.search.names import ValueTable
from serendip.search.searcher import Searcher
from serendip.search.synonyms import Synonym, Synonyms
from serendip.search.understanding import (
    ALL_WORDS,
    CORRECTED,
    EXACT,
    ONE_VALUE,
    SOME_WORDS,
    TITLED,
    VALUES,
)

ROWS = (
    ("Big Fish", "a king tells of the sea", ("Comedy",), "Tom Hanks", 1991.0),
    ("Small Fish", "an island", ("Drama",), "Tom Hanks", 1985.0),
    ("Lake", "", ("Comedy",), "Tom Hanks", 1995.0),
    ("Tom Segura", "hanks of wool", ("Comedy",), "Tom Segura", 2001.0),
    ("River King", "a king and his king", ("Drama",), "Regina King", 1992.0),
    ("King of Rain", "the king", ("Horror",), "Alfred Hill", 1996.0),
    ("Hill", "", ("Horror",), "Alfred Hill", 1999.0),
    ("Meadow", "a hanks island", ("Horror",), "Eve", 1950.0),
)
MERITS = np.array([1, 2, 3, 9, 1, 1, 2, 1], np.float32)


def item(row: int) -> Item:
    title, text, genres, cast, year = ROWS[row]
    attributes = {"genres": genres, "cast": (cast,), "year": year}
    return Item(f"f{row}", title, text, attributes)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    catalogue = Catalogue(map(item, range(len(ROWS))))
    folder = Path(tmp_path_factory.mktemp("levels")) / "index"
    searcher = Searcher.build(catalogue, np.zeros(len(ROWS), np.float32), folder)
    return replace(searcher, values=ValueTable.of(catalogue, MERITS))


def levels(searcher: Searcher, text: str) -> dict[int, float]:
    """Number of each hit -> its level, in the order of the search."""
    hits = searcher.search(text, 10)
    matches = [round(level, 2) for level in hits.fields["match"].tolist()]
    assert matches == sorted(matches, reverse=True)
    return dict(zip(hits.item_nums.tolist(), matches, strict=True))


@pytest.mark.parametrize("text", ["tom hanks", "Tom Hanks movies", "films with tom hanks"])
def test_items_of_a_person_come_first_the_best_ones_before_the_others(
    searcher: Searcher, text: str
) -> None:
    found = levels(searcher, text)
    assert list(found)[:3] == [2, 1, 0]
    assert [found[number] for number in (2, 1, 0)] == [VALUES] * 3


def test_last_words_are_people_only_where_most_items_say_so_and_like_begins_a_title(
    searcher: Searcher,
) -> None:
    assert levels(searcher, "hill's films")[5] == VALUES
    assert set(levels(searcher, "king").values()) == {ALL_WORDS}
    newer = post(searcher, Item("n", "Like Hill"))
    assert newer.reader.find_liked("like hill") == -1


def test_exact_titles_come_first_then_all_words_a_rare_value_and_some_words(
    searcher: Searcher,
) -> None:
    assert next(iter(levels(searcher, "hill").items())) == (6, EXACT)

    searcher = post(searcher, *(Item(f"n{row}", f"Fog {row}") for row in range(60)))
    found = levels(searcher, "tom hanks island")
    assert found[1] == ALL_WORDS
    assert found[0] == found[2] == ONE_VALUE
    assert found[3] == found[7] == SOME_WORDS

    found = levels(searcher, "tom hanks comedy")
    assert list(found)[:2] == [2, 0]
    assert [number for number, level in found.items() if level == VALUES] == [2, 0]
    assert list(levels(searcher, "90s horror"))[:2] == [6, 5]


def test_of_a_title_words_in_other_fields_are_no_hits(searcher: Searcher, tmp_path: Path) -> None:
    catalogue = Catalogue(map(item, range(len(ROWS))))
    chosen = np.array([0, 0, 0, 0, 5, 0, 5, 2], np.float32)
    known = Searcher.build(catalogue, chosen, tmp_path / "index")
    known = replace(known, values=searcher.values)
    assert levels(known, "river king") == {4: EXACT}
    unchosen = post(searcher, Item("n0", "River bed"))
    assert set(levels(unchosen, "river king").values()) == {EXACT, SOME_WORDS}
    newer = known.with_late({8: Item("n0", "High Meadows"), 9: Item("n1", "", "a meadow")})
    assert levels(newer, "meadow") == {7: EXACT, 8: TITLED}
    assert newer.find_titled("river kinng").tolist() == [4]
    assert not len(newer.find_titled("hill")), "a person, too"
    assert set(newer.search("meadow", 9, literal=True).item_nums.tolist()) == {7, 8, 9}


def test_a_number_or_a_form_is_the_beginning_of_a_title_before_a_value(searcher: Searcher) -> None:
    assert searcher.read("hills").content.values == ("hill",)
    titles = ("Green Hills", "The Hills", "Hills of Tea")
    newer = searcher.with_late({8 + row: Item(f"n{row}", one) for row, one in enumerate(titles)})
    assert newer.read("hills").content.values == ()

    newer = searcher.with_late({8: Item("n0", "1991: A Lake"), 9: Item("n1", "19911 Lakes")})
    found = levels(newer, "1991")
    assert list(found)[:2] == [8, 0]
    assert (found[8], found[0]) == (CORRECTED, VALUES)


def test_a_title_without_its_article_is_kept_where_more_chose_it_than_have_the_value(
    searcher: Searcher, tmp_path: Path
) -> None:
    posted = [item(row) for row in range(len(ROWS))] + [Item("t", "The Hill")]
    for chosen, exact in ((2, [6]), (3, [6, 8])):
        counts = np.array([0] * len(ROWS) + [chosen], np.float32)
        known = Searcher.build(Catalogue(posted), counts, tmp_path / str(chosen))
        assert replace(known, values=searcher.values).read("hill").exact.tolist() == exact


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("alfrad hill", "alfred hill"),
        ("alfre d hill", "alfred hill"),
        ("tom hank", "tom hanks"),
        ("alfred hull", ""),
        ("alfred dill", ""),
        ("elfred hill", ""),
        ("afred hlil", ""),
        ("regina kings", ""),
    ],
)
def test_a_name_is_meant_by_slips_but_at_the_beginning_and_in_short_words(
    searcher: Searcher, text: str, meant: str
) -> None:
    assert searcher.values.nearest(text) == meant


def test_values_of_posted_and_changed_items_count_at_once(searcher: Searcher) -> None:
    newer = post(searcher, Item("n", "New", attributes={"cast": ("Tom Hanks",)}))
    assert levels(newer, "tom hanks")[8] == VALUES
    changed = newer.with_late({2: Item("f2", "Lake", attributes={"cast": ("Eve",)})})
    assert levels(changed, "tom hanks").get(2) is None
    assert 8 not in levels(newer.without_items([8]), "tom hanks")
    assert 8 not in levels(searcher, "tom hanks")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("movies like River King", 4),
        ("something similar to hill", 6),
        ("River King 같은 영화", 4),
        ("a king like Big Fish", -1),
        ("I like fish", -1),
        ("hill", -1),
        ("films like rivr king", 4),
        ("like a river of kings", -1),
        ("films like big fi", 0),
        ("ｆｉｌｍｓ  like   Big Fish ", 0),
        ("films like big", -1),  # too few letters
    ],
)
def test_items_like_a_named_one_are_asked_for(searcher: Searcher, text: str, number: int) -> None:
    assert searcher.reader.find_liked(text) == number


def test_generic_words_say_nothing_and_a_text_is_language_by_its_words(
    searcher: Searcher, tmp_path: Path
) -> None:
    korean = Catalogue([Item("k0", "바다의 노래"), Item("k1", "숲의 왕")])
    own = Searcher.build(korean, np.zeros(2, np.float32), tmp_path / "index")
    for one, text in ((searcher, "fish"), (searcher, "austere"), (own, "바다")):
        assert one.read(text).content.is_language
    for one, text in ((searcher, "the zzxqwv"), (searcher, "로봇 영화"), (own, "쀍뛣")):
        assert not one.read(text).content.is_language
    assert not len(searcher.search("the zzxqwv", 5))

    assert searcher.find_meaning("keqxxpk movie") == "keqxxpk"
    assert searcher.find_meaning("movies like brazil") == "brazil"
    assert searcher.find_meaning("인셉션 같은 영화") == "인셉션"
    for text in ("tom hanks movie", "keqxxpk island", "좀비 영화", "movie"):
        assert searcher.find_meaning(text) == text


@pytest.mark.parametrize(
    ("term", "also", "text"),
    [
        ("funny", "comedy", "funny tom hanks"),
        ("hankscom", "hanks comedies", "hankscom"),  # of several values
    ],
)
def test_values_are_named_by_a_synonym(searcher: Searcher, term: str, also: str, text: str) -> None:
    synonyms = Synonyms.of([Synonym(term, also, "accepted", 1.0, "author")])
    found = levels(replace(searcher, synonyms=synonyms), text)
    assert [number for number, level in found.items() if level == VALUES] == [2, 0]
    assert VALUES not in levels(searcher, text).values()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("comedies", {2, 0, 3}),
        ("tom hanks comedies", {2, 0}),
        ("tom hanks's comedies", {2, 0}),
        ("segura's films", {3}),
        ("1996", {5}),
    ],
)
def test_another_form_of_a_value_names_it(searcher: Searcher, text: str, found: set[int]) -> None:
    assert {number for number, level in levels(searcher, text).items() if level == VALUES} == found
    assert set(searcher.find_complete(text).item_nums.tolist()) >= found


@pytest.mark.parametrize("text", ["best movies", "Top rated", "what are good films", "추천 영화"])
def test_a_text_that_names_nothing_but_quality_finds_the_best(
    searcher: Searcher, text: str
) -> None:
    assert searcher.search(text, 3).item_nums.tolist() == [3, 2, 1]
    assert len(searcher.find_complete(text)) == len(ROWS)
    newer = post(searcher, Item("n", "Sand"))
    assert newer.search(text, 10).item_nums.tolist()[-1] == len(ROWS)
    titled = post(searcher, Item("n", text))
    assert titled.search(text, 1).item_nums.tolist() == [len(ROWS)]


@pytest.mark.parametrize(
    ("text", "is_newest"),
    [("new releases", True), ("latest comedies", True), ("best films", False), ("new king", False)],
)
def test_a_text_asks_for_the_newest_of_all_or_of_what_has_a_value(
    searcher: Searcher, text: str, is_newest: bool
) -> None:
    assert searcher.read(text).content.is_newest is is_newest


def test_words_of_quality_and_nothing_do_not_speak_against_values(searcher: Searcher) -> None:
    newer = post(searcher, Item("n", "Best Worst Movie"), Item("m", "The Best King"))
    assert newer.search("best worst movie", 1).item_nums.tolist() == [8]
    assert newer.search("best king", 1).item_nums.tolist() == [9]
    assert levels(searcher, "horror 1899") == levels(searcher, "horror")
    assert VALUES not in levels(searcher, "horror submarine").values()


def test_an_item_that_says_little_of_a_text_is_no_hit(searcher: Searcher) -> None:
    also = [
        Item("n0", "Boat", "an undercover cop in the mafia"),
        Item("n1", "Mafia"),
        Item("n2", "Cop"),
    ]
    cops = [Item(f"c{row}", f"Cop {row}") for row in range(20)]
    posted = post(searcher, *also, *cops)
    assert levels(posted, "undercover mafia cop story") == {8: SOME_WORDS}
    assert list(levels(posted, "mafia story"))[:2] == [9, 8]


def test_other_words_with_the_stem_of_a_title_are_other_titles(tmp_path: Path) -> None:
    titles = ["Titanic", "Titan Story", "Titanics", "Clash of the Titans"]
    filler = [f"The lamp {row} of a house in the town" for row in range(20)]
    catalogue = Catalogue(Item(f"i{row}", title) for row, title in enumerate([*titles, *filler]))
    chosen = np.array([9, 5, 1, 5, *[0] * 20], np.float32)
    known = Searcher.build(catalogue, chosen, tmp_path / "index")
    assert known.lexical.language == "english"
    assert levels(known, "titanic") == {0: EXACT, 2: TITLED}


@pytest.fixture
def cinema(tmp_path: Path) -> Searcher:
    titles = ("A Serbian Film", "A Goofy Movie", "The Family", "Batman", "The Bag Man", "Rize")
    texts = ("of a family", "", "", "", "", "")
    rows = enumerate(zip(titles, texts, strict=True))
    catalogue = Catalogue(Item(f"{n}", title, text) for n, (title, text) in rows)
    return Searcher.build(catalogue, np.arange(6, dtype=np.float32), tmp_path / "index")


@pytest.mark.parametrize(
    ("text", "first"), [("family film", 2), ("bat man", 3), ("goofy movei", 1), ("the bag man", 4)]
)
def test_kinds_are_no_words_of_titles_and_joined_words_are_titles(
    cinema: Searcher, text: str, first: int
) -> None:
    assert cinema.search(text, 1).item_nums.tolist() == [first]


def test_what_asks_for_all_or_is_nothing_is_not_corrected(cinema: Searcher) -> None:
    assert cinema.read("good movie").content.is_whole
    assert not len(cinema.search("rizi tupufona", 5))
    assert cinema.read("rizi").told_key or len(cinema.search("rizi", 5))
