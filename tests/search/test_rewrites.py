from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data import Catalogue, Item
from serendip.data.events.search_log import Search
from serendip.data.privacy import VISITOR
from serendip.data.text import normalise
from serendip.search.names import ValueTable
from serendip.search.rewrites import Rewrite, RewriteTable, broader_texts, find_reformulations
from serendip.search.searcher import Searcher
from serendip.search.suggestions.checks import Blocklist

WORDS = ("red leather sofa", "blue leather sofa", "green leather sofa", "red lamp", "oak table")
ITEMS = Catalogue(Item(f"i{n}", f"Model {n}", WORDS[n % 5]) for n in range(20))


@pytest.fixture
def searcher(tmp_path: Path) -> Searcher:
    return Searcher.build(ITEMS, np.ones(20, np.float32), tmp_path / "s")


def texts(rewrites: tuple[Rewrite, ...]) -> list[str]:
    return [one.text for one in rewrites]


def test_a_negation_goes_with_what_it_denies_and_no_text_ends_with_a_function_word() -> None:
    assert broader_texts("sofa without arms") == ["sofa"]
    assert broader_texts("vestido sin mangas") == ["vestido", "sin mangas"]
    assert broader_texts("sofa for dogs") == ["sofa dogs", "sofa", "dogs"]
    assert broader_texts("sofa") == []


def test_two_parts_are_left_out_of_texts_of_three_to_six() -> None:
    assert set(broader_texts("b c d")) == {"b c", "b d", "c d", "b", "c", "d"}
    assert len(broader_texts("b c d e f g")) == 6 + 15
    assert len(broader_texts("b c d e f g h")) == 7
    assert broader_texts(" ".join("bcdefghjklm")) == []


def test_texts_that_few_items_answer_are_offered_others_and_all_else_stays_bit_by_bit(
    searcher: Searcher,
) -> None:
    told = searcher.find_rewrites("pink leather sofa")
    assert told[0] == Rewrite("leather sofa", "broader", 1.0), "no item has the word that is gone"
    for text in (
        "oak lamp",
        "leather",
        "red leather",
        "Model 7",
        "model 1",
        "mod",
        "qqq",
        "qqq zzz",
        "",
    ):
        assert searcher.find_rewrites(text) == ()


def test_a_text_that_values_answer_needs_no_other(tmp_path: Path) -> None:
    genres = {"genres": ("Comedy", "Romance")}
    films = Catalogue(Item(f"f{n}", f"Film {n}", attributes=genres) for n in range(5))
    built = Searcher.build(films, np.ones(5, np.float32), tmp_path / "films")
    named = replace(built, values=ValueTable.of(films.items))
    assert texts(built.find_rewrites("romantic comedy")) == ["comedy"]
    assert len(named.search("romantic comedy", 5)) == 5
    assert named.find_rewrites("romantic comedy") == ()


def test_what_people_searched_next_is_offered_where_it_still_finds_something(
    searcher: Searcher,
) -> None:
    head = {
        "pink sofa": (
            Rewrite("Red Lamp", "substitute", 0.9),
            Rewrite("Table", "broader", 0.89),
            Rewrite("oak", "substitute", 0.4),
        ),
        "leather": (Rewrite("oak", "broader", 1.0),),
    }
    wide = replace(searcher, rewrites=RewriteTable(head))
    assert texts(wide.find_rewrites("Pink sofa!")) == ["Red Lamp", "Table", "sofa"]
    assert wide.find_rewrites("leather") == (), "enough items have it"
    gone = wide.without_items([n for n in range(20) if n % 5 == 3])
    assert texts(gone.find_rewrites("Pink sofa")) == ["Table", "sofa"]
    for text in ("pink leather sofa", "red leather", "Model 7", "oak lamp", "qqq"):
        plain, other = searcher.search(text, 20), wide.search(text, 20)
        assert plain.item_nums.tolist() == other.item_nums.tolist()
        assert plain.scores.tobytes() == other.scores.tobytes()


def test_the_table_has_what_is_safe_and_not_narrower_and_comes_back(
    searcher: Searcher, tmp_path: Path
) -> None:
    searches = [
        search(f"u{number}", 100.0 * number + 1_000 * step + later, text, *chosen)
        for number in range(4)
        for step, pair in enumerate(
            (("pouf", "Sofa"), ("stool", "rude lamp"), ("oak lamp", "red oak lamp"))
        )
        for later, (text, chosen) in enumerate(zip(pair, ((), (1,)), strict=True))
    ]
    searches.sort(key=lambda one: one.timestamp)
    is_safe = Blocklist.of(["rude"]).allows
    table = RewriteTable.of(searches, searcher.matcher, 3, is_safe)
    assert table.head["pouf"] == (Rewrite("Sofa", "substitute", 4 / 6),)
    assert not table.head["stool"] and not table.head["oak lamp"]
    table.save(tmp_path / "saved")
    assert RewriteTable.open(tmp_path / "saved").head == table.head


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
