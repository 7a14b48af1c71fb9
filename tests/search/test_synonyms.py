from dataclasses import replace

import numpy as np
import pytest
from search_world import film, post

from serendip.data import Catalogue
from serendip.data.text import normalise
from serendip.errors import DataError, StorageError
from serendip.runtime.atomic_files import exclusive_lock
from serendip.search.searcher import Searcher
from serendip.search.synonyms import (
    Synonym,
    Synonyms,
    abbreviations,
    add_synonyms,
    read_synonyms,
    write_synonyms,
)

ROWS = [
    Synonym("sofa", "couch", "accepted", 0.9, "log"),
    Synonym("sofa", "settee", "proposed", 0.8, "vectors"),
    Synonym("wall bed", "murphy bed", "accepted", 1.0, "people"),
    Synonym("chair", "stool", "rejected", 0.8, "vectors"),
]


def test_the_table_is_plain_text_that_survives_a_round(tmp_path):
    path = tmp_path / "synonyms.csv"
    assert read_synonyms(path) == []
    write_synonyms(path, ROWS)
    assert path.read_text().splitlines()[:2] == [
        "term,also,state,confidence,source",
        "wall bed,murphy bed,accepted,1.000,people",
    ]
    assert sorted(read_synonyms(path), key=lambda row: row.key) == sorted(
        ROWS, key=lambda row: row.key
    )


@pytest.mark.parametrize(
    "line",
    [
        "sofa,couch,perhaps,0.5,log",
        "sofa,,accepted,0.5,log",
        "sofa,couch,accepted,2,log",
        "a bed in a wall,murphy bed,accepted,1,people",
    ],
)
def test_a_wrong_line_is_told_with_its_number(tmp_path, line):
    path = tmp_path / "synonyms.csv"
    path.write_text(f"term,also,state,confidence,source\na,b,accepted,1,x\n{line}\n")
    with pytest.raises(DataError, match=r"synonyms\.csv:3"):
        read_synonyms(path)


def test_only_accepted_pairs_are_looked_for_and_terms_may_have_several_words():
    synonyms = Synonyms.of(ROWS)
    assert synonyms.beside("red sofa") == ["couch"]
    assert synonyms.beside("wall bed queen") == ["murphy"]
    assert synonyms.beside("sofa couch") == []
    assert synonyms.beside("chair bed wall") == []
    assert Synonyms().beside("sofa") == []


def test_abbreviations_come_with_the_package_unless_they_are_rejected():
    assert Synonyms.of(()).beside("wwii submarine") == ["ww2", "world", "war", "ii", "2", "second"]
    assert "wwii" in Synonyms.of(()).beside("world war 2")
    assert Synonyms.of(()).beside("다큐 추천") == ["다큐멘터리"]
    rejected = [Synonym("tv", also, "rejected", 1.0, "people") for also in ("television", "티비")]
    assert Synonyms.of(rejected).beside("tv") == ["텔레비전"]
    assert Synonyms.of(()).beside("ai") == ["artificial", "intelligence"]
    assert Synonyms.of(()).beside("artificial intelligence") == [], "AI is a name, too"
    assert Synonyms.of(()).beside("nineties") == ["90s"]
    terms = {term for term, _ in abbreviations()}
    assert all(term == normalise(term) and len(term.split()) <= 3 for term in terms)


def test_a_number_at_the_end_is_the_same_in_roman_numerals():
    assert Synonyms.of(()).beside("rocky 2") == ["ii"]
    assert Synonyms.of(()).beside("saw vi") == ["6"]
    for text in ("2", "2 fast", "malcolm x", "rocky 1", "rocky 21"):
        assert Synonyms.of(()).beside(text) == []


def test_a_synonym_counts_as_the_words_that_it_stands_for(tmp_path):
    titles = ["World War II Planes", "WWII Planes", "World Planes", "War of the Planes", "Sea War"]
    catalogue = Catalogue(film(str(n), title) for n, title in enumerate(titles))
    one = Searcher.build(catalogue, np.ones(5, np.float32), tmp_path / "s")
    assert one.read("wwii planes").unknown == one.read("ww2 planes").unknown == ()
    for text in ("world war 2", "wwii", "ww2", "ww2 planes"):
        assert set(one.find_complete(text).item_nums.tolist()) == {0, 1}
        assert len(one.find_complete(text, literal=True)) == (text == "wwii")
    assert set(one.search("ww2", 2).item_nums.tolist()) == {0, 1}
    posted = post(one, film("n", "World War 2 Ships"))
    assert set(posted.find_complete("wwii").item_nums.tolist()) == {0, 1, 5}


def test_pairs_are_added_by_one_at_a_time(tmp_path):
    path = tmp_path / "synonyms.csv"
    write_synonyms(path, ROWS[:1])
    with exclusive_lock(tmp_path), pytest.raises(StorageError, match="another process is writing"):
        add_synonyms(path, ROWS)
    assert add_synonyms(path, [ROWS[0], ROWS[2]]) == (1, [ROWS[0], ROWS[2]])
    assert len(read_synonyms(path)) == 2


def test_what_was_typed_comes_before_what_was_not(tmp_path):
    titles = ["red couch", "red sofa", "blue couch", "green lamp"]
    catalogue = Catalogue(film(str(n), title) for n, title in enumerate(titles))
    plain = Searcher.build(catalogue, np.ones(4, np.float32), tmp_path / "s")
    wide = replace(plain, synonyms=Synonyms.of(ROWS))
    assert plain.search("sofa", 4).item_nums.tolist() == [1]
    found = wide.search("sofa", 4)
    assert found.item_nums.tolist()[0] == 1
    assert set(found.item_nums.tolist()) == {0, 1, 2}
    assert wide.search("sofa", 4, literal=True).item_nums.tolist() == [1]
