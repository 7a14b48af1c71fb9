from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data import Catalogue, Item
from serendip.data.events.search_log import Search
from serendip.data.privacy import VISITOR
from serendip.data.text import normalise
from serendip.errors import ArtefactError
from serendip.search.logistic import LogisticModel
from serendip.search.rewrites import (
    FEATURES,
    Rewrite,
    RewriteTable,
    changes,
    checked,
    find_reformulations,
)
from serendip.search.searcher import Searcher
from serendip.search.synonyms import Synonym, Synonyms

WORDS = ("red leather sofa", "blue leather sofa", "green leather sofa", "red lamp", "oak table")
ITEMS = Catalogue(Item(f"i{n}", f"Model {n}", WORDS[n % 5]) for n in range(20))
SURE = LogisticModel.prior(FEATURES, {"intercept": 2.0})
"""As sure of anything: .88."""


@pytest.fixture
def searcher(tmp_path: Path) -> Searcher:
    return Searcher.build(ITEMS, np.ones(20, np.float32), tmp_path / "s")


def nothing(term: str) -> list[tuple[str, float]]:
    return []


def texts(rewrites: tuple[Rewrite, ...]) -> list[str]:
    return [one.text for one in rewrites]


def test_parts_are_left_out_and_a_negation_goes_with_what_it_denies() -> None:
    found = [one.text for one in changes("sofa without arms", nothing)]
    assert found == ["without arms", "sofa"]
    assert [one.text for one in changes("vestido sin mangas", nothing)] == ["sin mangas", "vestido"]
    assert changes("sofa", nothing) == []

    assert {one.text for one in changes("a b c", nothing)} == {"a b", "a c", "b c", "a", "b", "c"}
    assert len(changes("a b c d e f", nothing)) == 6 + 15
    assert len(changes("a b c d e f g", nothing)) == 7
    assert changes(" ".join("abcdefghijk"), nothing) == []


def test_other_terms_stand_where_the_term_stood() -> None:
    def also(term: str) -> list[tuple[str, float]]:
        return {"couch": [("sofa", 0.9)], "wall bed": [("murphy bed", 1.0)]}.get(term, [])

    found = {one.text: one for one in changes("red couch", also) if one.kind == "substitute"}
    assert set(found) == {"red sofa"} and found["red sofa"].likeness == 0.9
    assert found["red sofa"].gone == ("couch",) and found["red sofa"].at_end
    assert "cheap murphy bed" in {one.text for one in changes("cheap wall bed", also)}


def test_what_finds_no_more_is_not_looked_at_and_broader_texts_keep_to_the_kind(
    searcher: Searcher,
) -> None:
    matcher = searcher.matcher
    kept, features = checked("leather qqq sofa", matcher, nothing)
    assert {one.text for one in kept} == {"leather sofa", "leather", "sofa"}
    assert features.shape == (3, len(FEATURES))
    assert features.min() >= 0 and features.max() <= 1
    row = features[[one.text for one in kept].index("leather sofa")].tolist()
    best = dict(zip(FEATURES, row, strict=True))
    assert best["unknown gone"] == 1 and best["unknown left"] == 0 and best["overlap"] == 1
    assert checked("qqq zzz", matcher, nothing)[0] == []


def test_texts_that_few_items_answer_are_offered_others_and_all_else_stays_bit_by_bit(
    searcher: Searcher,
) -> None:
    near = {"lamp": (("table", 0.9),)}
    wide = replace(searcher, rewrites=RewriteTable({}, SURE, near))
    assert "leather sofa" in texts(wide.find_rewrites("pink leather sofa"))
    assert texts(wide.find_rewrites("oak lamp")) == ["lamp", "oak", "oak table"]
    for text in ("pink leather sofa", "red leather", "Model 7", "oak lamp", "qqq"):
        plain, other = searcher.search(text, 20), wide.search(text, 20)
        assert plain.item_nums.tolist() == other.item_nums.tolist()
        assert plain.scores.tobytes() == other.scores.tobytes()
    for text in ("leather", "red leather", "Model 7", "model 1", "mod", "qqq", ""):
        assert wide.find_rewrites(text) == ()
    assert searcher.find_rewrites("pink leather sofa") == ()


def test_accepted_synonyms_are_offered_above_the_floor(searcher: Searcher) -> None:
    unsure = LogisticModel.prior(FEATURES, {"intercept": -0.1})
    assert replace(searcher, rewrites=RewriteTable({}, unsure)).find_rewrites("pink sofa") == ()

    rows = [
        Synonym("couch", "sofa", "accepted", 1.0, "people"),
        Synonym("couch", "lamp", "proposed", 1.0, "llm:m"),
    ]
    wide = replace(searcher, synonyms=Synonyms.of(rows), rewrites=RewriteTable({}, SURE))
    assert texts(wide.find_rewrites("red couch")) == ["red", "red sofa"]


def test_what_people_searched_next_is_offered_where_it_still_finds_something(
    searcher: Searcher,
) -> None:
    head = {
        "pink sofa": (
            Rewrite("Red Lamp", "substitute", 0.9),
            Rewrite("Sofa", "broader", 0.89),
            Rewrite("oak", "substitute", 0.4),
        ),
        "leather": (Rewrite("oak", "broader", 1.0),),
    }
    wide = replace(searcher, rewrites=RewriteTable(head, SURE))
    assert texts(wide.find_rewrites("Pink sofa!")) == ["Red Lamp", "Sofa"]
    assert wide.find_rewrites("leather") == (), "enough items have it"
    gone = wide.without_items([n for n in range(20) if n % 5 == 3])
    assert texts(gone.find_rewrites("Pink sofa")) == ["Sofa"]


def test_the_table_comes_back_and_one_of_other_features_is_refused(tmp_path: Path) -> None:
    head = {"a b": (Rewrite("A", "broader", 0.75),), "c": ()}
    table = RewriteTable(head, SURE, {"a": (("b", 0.5),)})
    table.save(tmp_path)
    again = RewriteTable.open(tmp_path)
    assert again.head == head and again.near == table.near and again.scorer is not None
    assert again.scorer.weights.tolist() == SURE.weights.tolist()
    replace(table, scorer=LogisticModel.prior((*FEATURES, "more"), {})).save(tmp_path)
    with pytest.raises(ArtefactError, match="other features: more"):
        RewriteTable.open(tmp_path)


def search(user: str, time: float, text: str, *chosen: int) -> Search:
    return Search(user, time, text, normalise(text), np.array(chosen, np.int32))


def test_the_log_tells_what_people_searched_next_who_had_found_nothing() -> None:
    searches = []
    for number in range(4):
        user = f"u{number}"
        searches += [search(user, 10.0, "sofa bed"), search(user, 60.0, "Futon", 1)]
        searches += [search(user, 1e4, "fu"), search(user, 1e4 + 9, "futon", 1)]
        searches += [search(user, 2e4, "red bed"), search(user, 2e4 + 1_900, "bed", 1)]
        searches += [search(user, 3e4, "desk", 2), search(user, 3e4 + 9, "table", 1)]
        searches += [search(user, 4e4, "my@mail"), search(user, 4e4 + 9, "mail", 1)]
        searches += [
            search(f"{VISITOR}{number}", 10.0, "pouf"),
            search(f"{VISITOR}{number}", 20.0, "stool", 1),
        ]
    searches += [search("v", 10.0, "sofa bed"), search("v", 20.0, "bed")]
    searches.sort(key=lambda one: one.timestamp)
    assert find_reformulations(searches, 5) == {}
    found = find_reformulations(searches, 3)
    assert found == {"sofa bed": [Rewrite("Futon", "substitute", 4 / 7)]}
