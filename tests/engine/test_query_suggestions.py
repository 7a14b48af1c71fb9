from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import stand as stand_world

from serendip.data.event import Event
from serendip.data.item import Item
from serendip.engine.engine import Engine
from serendip.engine.query_suggestions import (
    MOST_NUMBERS,
    QuerySuggester,
    SuggestionUsers,
    UserContext,
    most_kept,
)
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.checks import TOP
from serendip.search.suggestions.ranker import FEATURES, QueryRanker, SuggestionUser
from serendip.search.suggestions.table import QueryTable

SEARCHED, RARE = "number horror", "tale western"


def searched(user: str, text: str, item: str, at: float) -> Event:
    return Event(user, item, at, "click", query=text, surface="search")


@pytest.fixture(scope="module")
def folder(trained_stand: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand where four people searched one thing and two another, trained again."""

    place = Path(shutil.copytree(trained_stand, tmp_path_factory.mktemp("asked") / "stand"))
    start = time.time() - 1_000
    events = [searched(f"u{n}", SEARCHED, "i3", start + n) for n in range(0, 12, 3)]
    events += [searched(f"u{n}", RARE, "i2", start + 50 + n) for n in (2, 5)]
    store = Workspace.open(place).open_store()
    store.put_events(events)
    store.close()
    stand_world.train(place)
    return place


@pytest.fixture
def asked(folder: Path, tmp_path: Path):

    opened: list[Engine] = []

    def open_with(settings: str = "") -> Engine:
        place = Path(shutil.copytree(folder, tmp_path / f"asked-{len(opened)}"))
        with (place / "serendip.toml").open("a") as stream:
            stream.write(settings)
        opened.append(Engine.open(place))
        return opened[-1]

    yield open_with
    for engine in opened:
        engine.close()


def texts(found) -> list[str]:
    return [one.text for one in found.queries]


def test_training_publishes_queries_and_tells_what_fell_to_which_test(asked) -> None:
    manifest = asked()._manifest["queries"]
    assert manifest["by_source"]["logs"] == 1 and manifest["dropped"]["few users"] == 1
    assert manifest["ranker_learned_from"] > 0


def test_what_enough_people_searched_is_suggested_and_the_rest_never(asked) -> None:
    engine = asked()
    assert "query" in {one.kind for one in engine.suggest(Request(text="number hor", k=8)).queries}
    assert SEARCHED in texts(engine.suggest(Request(text="number hor", k=8)))
    assert RARE not in texts(engine.suggest(Request(text="tale west", k=20)))
    assert RARE not in texts(engine.suggest(Request(user_id="stranger", k=50)))


def test_own_searches_are_suggested_to_their_user_alone(asked) -> None:
    engine = asked()
    assert RARE in texts(engine.suggest(Request(user_id="u2", k=20)))
    assert RARE not in texts(engine.suggest(Request(user_id="u0", k=20)))


def test_queries_without_words_suit_the_user_and_each_finds_something(asked) -> None:
    engine = asked()
    for user, genre in (("u1", "comedy"), ("u8", "western")):
        found = engine.suggest(Request(user_id=user, k=10))
        attributes = [one.text for one in found.queries if one.kind == "attribute"]
        assert attributes[0] == genre
        for one in found.queries:
            assert engine.search(one.text).items
    assert engine.suggest(Request(user_id="u1", k=0)).queries == ()


def test_an_own_item_leads_to_what_is_like_it(asked) -> None:
    likes = [
        one for one in asked().suggest(Request(user_id="u1", k=30)).queries if one.kind == "like"
    ]
    assert likes and all(one.text.startswith("like The ") and one.item_id for one in likes)


def test_what_was_searched_on_the_page_is_not_suggested_there(asked) -> None:
    engine = asked()
    assert "comedy" in texts(engine.suggest(Request(user_id="u1", k=10)))
    assert "comedy" not in texts(engine.suggest(Request(user_id="u1", k=10, after="Comedy")))


def test_the_best_result_of_the_page_counts_as_chosen_last(asked) -> None:
    engine = asked()
    results = engine.state.searcher.search("horror", TOP).item_nums
    ends = [int(results[-1]), int(results[0])]
    names = [engine.state.catalogue[item].title for item in ends]
    made = [
        Candidate(name, "rule", "rules", np.array([item], np.int32))
        for name, item in zip(names, ends, strict=True)
    ]
    table = QueryTable.unverified(made, engine.state.catalogue, engine.state.queries.categories)
    by_last = QueryRanker(np.array([float(name == "last") for name in FEATURES]))
    state = engine.state.with_queries(table, by_last)
    suggester = QuerySuggester(state, engine.settings.queries)
    found = suggester.recommend(
        state, Request(after="horror", k=2), SuggestionUser(), UserContext()
    )
    assert [one.text for one in found] == names[::-1]


def test_a_query_whose_items_are_gone_is_suggested_no_more(asked) -> None:
    engine = asked()
    assert "western" in texts(engine.suggest(Request(text="wes", k=8)))
    for number in range(2, 60, 3):
        engine.delete_item(f"i{number}")
    assert "western" not in texts(engine.suggest(Request(text="wes", k=8)))
    assert "western" not in texts(engine.suggest(Request(user_id="u2", k=50)))


def test_a_slip_is_forgiven_while_typing(asked) -> None:
    assert any(
        "horror" in one.lower() for one in texts(asked().suggest(Request(text="the horor ta")))
    )


def test_the_last_place_is_drawn_and_its_chance_is_told(asked) -> None:
    engine = asked("\n[queries]\nexploration = 4\n")
    users = [f"u{n}" for n in range(12)]
    lists = [engine.suggest(Request(user_id=user, k=3)).queries for user in users]
    for found in lists:
        assert [one.propensity for one in found[:-1]] == [1.0, 1.0]
        assert found[-1].propensity in (1.0, 1 / 2, 1 / 3, 1 / 4)
    assert any(found[-1].propensity < 1 for found in lists)
    again = [engine.suggest(Request(user_id=user, k=3)).queries for user in users]
    assert again == lists
    plain = asked()
    usual = [texts(plain.suggest(Request(user_id=user, k=6))) for user in users]
    for found, expected in zip(lists, usual, strict=True):
        assert [one.text for one in found[:-1]] == expected[:2]
        assert found[-1].text in expected[2:]
    assert any(found[-1].text != expected[2] for found, expected in zip(lists, usual, strict=True))


def test_newcomers_are_drawn_for_one_by_one_and_strangers_not_at_all(asked) -> None:
    engine = asked("\n[queries]\nexploration = 4\n")
    drawn = [engine.suggest(Request(user_id=f"newcomer {n}", k=3)).queries[-1] for n in range(80)]
    shown = [one.text for one in drawn]
    assert len(set(shown)) > 2 and min(map(shown.count, shown)) > 8
    assert {one.propensity for one in drawn} == {1 / len(set(shown))}
    stranger = engine.suggest(Request(k=4)).queries
    assert len(stranger) > 2 and {one.propensity for one in stranger} == {1.0}
    assert stranger == asked().suggest(Request(k=4)).queries


def test_a_user_is_drawn_for_again_after_the_next_choice(asked) -> None:
    engine, shown = asked("\n[queries]\nexploration = 20\n"), set()
    for at in range(6):
        engine.add_events([Event("again", "i3", float(at), "click")])
        shown.add(texts(engine.suggest(Request(user_id="again", k=2)))[-1])
    assert len(shown) > 2


def test_what_was_written_is_shown_while_it_finds_something(asked) -> None:
    engine = asked()

    def shown() -> list[str]:
        number = engine.state.catalogue.vocabulary.numbers(["odd"])
        one = Candidate("zyzzyva quest", "written", "llm", number)
        old = engine.state.queries
        table = QueryTable.unverified([one], engine.state.catalogue, old.categories)
        state = engine.state.with_queries(table, engine.state.query_ranker)
        suggester = QuerySuggester(state, engine.settings.queries)
        request, user = Request(text="zyz", k=5), SuggestionUser()
        return [found.text for found in suggester.complete(state, request, user, UserContext())]

    engine.add_items([Item("odd", "The zyzzyva quest")])
    assert "zyzzyva quest" in shown()
    engine.add_items([Item("odd", "The plain walk")])
    assert shown() == []
    engine.add_items([Item("odd", "The zyzzyva quest"), Item("other", "Another zyzzyva")])
    engine.delete_item("odd")
    assert "zyzzyva quest" not in shown()


def test_askers_are_kept_by_memory_the_last_ones_first(asked, monkeypatch) -> None:
    assert most_kept(1_000) == 256 and most_kept(10**6) == MOST_NUMBERS // 10**6
    assert most_kept(10**9) == most_kept(MOST_NUMBERS) == 1
    engine = asked()
    monkeypatch.setattr(
        "serendip.engine.query_suggestions.MOST_NUMBERS", 2 * engine.state.num_items
    )
    askers = SuggestionUsers(engine._store, engine.settings.actions)

    def of(user: str) -> SuggestionUser:
        return askers.of(engine.state, user, engine._query_builder.past(engine.state, user))[0]

    first, second = of("u0"), of("u1")
    assert of("u0") is first
    of("u2")
    assert of("u0") is first and of("u1") is not second
    assert np.array_equal(of("u1").history, second.history)


def test_new_categories_come_first_where_that_is_wanted(asked) -> None:
    engine = asked("\n[queries]\nnew_categories_first = true\n")
    found = [one.text for one in engine.suggest(Request(user_id="u1", k=8)).queries]
    new = [at for at, text in enumerate(found) if "horror" in text or "western" in text]
    old = [at for at, text in enumerate(found) if "comedy" in text]
    assert new and old and max(new) < min(old)


def test_a_score_does_not_depend_on_how_many_are_asked_for(asked) -> None:
    engine = asked()
    assert texts(engine.suggest(Request(user_id="u4", k=20)))[:5] == texts(
        engine.suggest(Request(user_id="u4", k=5))
    )
    assert {one.propensity for one in engine.suggest(Request(user_id="u4", k=5)).queries} == {1.0}
