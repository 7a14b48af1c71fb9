import math
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import stand as stand_world
from small_shop import add_settings

from serendip.data import Event, Item
from serendip.data.items.reception import DAY_S
from serendip.engine.engine import Engine
from serendip.engine.query_suggestions import (
    QuerySuggester,
    SuggestionUsers,
)
from serendip.engine.request import Request, Suggestion
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.checks import TOP
from serendip.search.suggestions.co_searches import CoSearches
from serendip.search.suggestions.combinations import Categories
from serendip.search.suggestions.ranker import FEATURES, LogisticModel, SuggestionUser
from serendip.search.suggestions.table import QueryTable

NOW = 1_790_000_000.0
"""What is level is shown in turn, another day in another order."""

SEARCHED, RARE, FAILED = "number horror", "tale western", "zqx qxz"


def searched(user: str, text: str, item: str, at: float) -> Event:
    return Event(user, item, at, "click", query=text, surface="search")


def unsuccessful(user: str, text: str, at: float) -> Event:
    return Event(user, "i4", at, "impression", query=text, surface="search", request_id=f"{user}f")


@pytest.fixture(scope="module")
def folder(trained_stand: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand where four people searched one thing and two another, trained again."""

    place = Path(shutil.copytree(trained_stand, tmp_path_factory.mktemp("suggestions") / "stand"))
    start = NOW - 1_000
    events = [searched(f"u{n}", SEARCHED, "i3", start + n) for n in range(0, 12, 3)]
    events += [searched(f"u{n}", RARE, "i2", start + 50 + n) for n in (2, 5)]
    events += [unsuccessful(f"u{n}", FAILED, start - 20 + n) for n in range(0, 12, 3)]
    store = Workspace.open(place).open_store()
    store.put_events(events)
    store.close()
    stand_world.train(place)
    return place


@pytest.fixture
def open_engine(folder: Path, tmp_path: Path):

    opened: list[Engine] = []

    def open_with(settings: str = "") -> Engine:
        place = Path(shutil.copytree(folder, tmp_path / f"stand-{len(opened)}"))
        add_settings(place, settings)
        opened.append(Engine.open(place, lambda: NOW))
        return opened[-1]

    yield open_with
    for engine in opened:
        engine.close()


@pytest.fixture(scope="module")
def reader(folder: Path) -> Iterator[Engine]:
    with closing(Engine.open(folder, lambda: NOW)) as opened:
        yield opened


def texts(suggestions) -> list[str]:
    return [query.text for query in suggestions.queries]


def kinds(suggestions) -> set[str]:
    return {query.kind for query in suggestions.queries}


def test_published_queries_are_counted_and_fit_the_user(reader: Engine) -> None:
    manifest = reader._manifest["queries"]
    assert manifest["by_source"]["logs"] == 1 and manifest["dropped"]["few users"] == 1
    assert manifest["ranker_learned_from"] > 0

    for user, genre in (("u1", "comedy"), ("u8", "western")):
        queries = reader.suggest(Request(user_id=user, k=10)).queries
        attributes = [query.text for query in queries if query.kind == "attribute"]
        assert attributes[0] == genre
        for query in queries:
            assert reader.search(query.text).items
    assert reader.suggest(Request(user_id="u1", k=0)).queries == ()


def test_suggested_is_what_enough_people_searched_or_oneself(reader: Engine) -> None:
    assert "query" in kinds(reader.suggest(Request(text="number hor", k=8)))
    assert SEARCHED in texts(reader.suggest(Request(text="number hor", k=8)))
    assert RARE not in texts(reader.suggest(Request(text="tale west", k=20)))
    assert RARE not in texts(reader.suggest(Request(user_id="stranger", k=50)))
    assert RARE in texts(reader.suggest(Request(user_id="u2", k=20)))
    assert RARE not in texts(reader.suggest(Request(user_id="u0", k=20)))


def by_feature(name: str) -> LogisticModel:
    return LogisticModel.prior(FEATURES, {name: 1.0})


def with_table(
    engine: Engine, items: dict[str, int], ranker: LogisticModel | None = None, **fields: object
) -> EngineState:
    """A state that suggests some queries, each with an item number, by default in this order."""
    state = engine.state
    candidates = [
        Candidate(text, "rule", "rules", np.array([number], np.int32))
        for text, number in items.items()
    ]
    table = QueryTable.of(candidates, state.catalogue, state.queries.categories)
    searches = np.arange(len(items), 0, -1).astype(np.int32)
    table = replace(table, searches=searches, **fields)
    return replace(state, queries=table, query_ranker=ranker or by_feature("searches"))


def recommend(
    engine: Engine,
    state: EngineState,
    request: Request,
    user: SuggestionUser | None = None,
    now: float = math.nan,
) -> list[Suggestion]:
    config, user = engine.settings.queries, user or SuggestionUser()
    return QuerySuggester(state, config, request, user, now).recommend()


@pytest.mark.parametrize("user", ["", "u1", "u8"])
@pytest.mark.parametrize("typed", ["", "tale", "the"])
def test_with_filters_every_query_finds_an_item_that_passes(
    reader: Engine, user: str, typed: str
) -> None:
    asked = Request(user_id=user, text=typed, filters=("genre=horror",), k=30)
    queries = reader.suggest(asked).queries
    assert queries
    for query in queries:
        if query.item_id:
            item = reader.item(query.item_id)
            assert item is not None and item.attributes["genre"] == "horror"
        text = query.text.removeprefix("like ")
        assert reader.search(text, filters=("genre=horror",)).items
    unfiltered = texts(reader.suggest(replace(asked, filters=())))
    assert {"comedy", "western"} & set(unfiltered) or typed
    assert not {"comedy", "western"} & set(texts(reader.suggest(asked)))


def test_a_page_suggests_other_queries_and_its_best_result_counts_as_chosen(reader: Engine) -> None:
    assert "comedy" in texts(reader.suggest(Request(user_id="u1", k=10)))
    assert "comedy" not in texts(reader.suggest(Request(user_id="u1", k=10, after="Comedy")))

    results = reader.state.searcher.search("horror", TOP).item_nums
    ends = {reader.state.catalogue[int(item)].title: int(item) for item in results[[-1, 0]]}
    state = with_table(reader, ends, by_feature("last"))
    queries = recommend(reader, state, Request(after="horror", k=2))
    assert [query.text for query in queries] == [*ends][::-1]


def test_nothing_deleted_is_suggested_and_one_bare_value_a_list(open_engine) -> None:
    engine = open_engine()
    assert "western" in texts(engine.suggest(Request(text="wes", k=8)))
    for number in range(2, 60, 3):
        engine.delete_item(f"i{number}")
    assert "western" not in texts(engine.suggest(Request(text="wes", k=8)))
    assert "western" not in texts(engine.suggest(Request(user_id="u2", k=50)))

    engine = open_engine()
    state = with_level_queries(engine, "attribute written rule series")
    for hour in range(5):
        found = Counter(
            query.kind for query in recommend(engine, state, Request(k=8), now=hour * 3_600.0)
        )
        assert found["attribute"] == 1 and min(found[kind] for kind in ("written", "series")) >= 2


def test_a_share_of_the_chips_is_drawn_from_young_categories_with_its_propensity(
    reader: Engine,
) -> None:
    table = reader.state.queries
    starts = np.full(len(table.categories), NOW - 90 * DAY_S)
    starts[table.categories.values.index("western")] = NOW - 20 * DAY_S
    shares = np.where(np.arange(len(table))[:, None] < 6, starts == starts.max(), table.shares)
    state = replace(reader.state, queries=replace(table, category_starts=starts, shares=shares))

    def propensities(user: str, k: int, now: float = NOW) -> list[float]:
        asked = recommend(reader, state, Request(k=k), SuggestionUser(user), now)
        return [query.propensity for query in asked]

    lists = [propensities(f"u{n}", 5) for n in range(6)]
    assert all(0 < one[0] < 1 == min(one[1:]) for one in lists)
    assert propensities("u0", 5) == lists[0]
    assert min(propensities("u0", 4)) == min(propensities("", 5)) == 1.0
    assert min(propensities("u0", 5, NOW + 60 * DAY_S)) == 1.0, "it is young no longer"


def test_what_helped_after_a_failure_comes_first(reader: Engine) -> None:
    names = {f"The {genre} tale": n for n, genre in enumerate(("horror", "comedy", "western"))}
    state = with_table(reader, names, co_searches=CoSearches(ways_out={"hrror": (2, 1, 0)}))

    def after(text: str) -> list[str]:
        return [query.text for query in recommend(reader, state, Request(after=text, k=3))]

    assert after("Hrror") == [*names][::-1]
    assert after("elsewhere") == [*names]


def searching(user: str, text: str, ago: float) -> Event:
    return replace(unsuccessful(user, text, NOW - ago), request_id=f"{user}{ago}")


CHIP = replace(unsuccessful("u", "horror", NOW - 50), surface="suggest")
CRAWLED = replace(unsuccessful("u", "horror", NOW - 30), action="crawl")


@pytest.mark.parametrize(
    ("events", "failed"),
    [
        ([], ""),
        ([searching("u", "Zqx  QXZ", 60), CHIP, CRAWLED], FAILED),
        ([searching("u", FAILED, 1_860), CHIP], ""),  # of another occasion
        ([searching("u", FAILED, 60), searched("u", "", "i3", NOW - 30)], ""),
        ([searching("u", FAILED, 86_400), searching("u", FAILED, 60)], FAILED),
        (
            [
                searching("u", FAILED, 1_200),
                searched("u", FAILED, "i3", NOW - 1_190),
                searching("u", "horror", 300),
                searching("u", FAILED, 60),
            ],
            FAILED,
        ),
        (  # more results of the search with a choice
            [
                searching("u", FAILED, 600),
                searched("u", FAILED, "i3", NOW - 500),
                searching("u", FAILED, 60),
            ],
            "",
        ),
    ],
)
def test_a_failed_last_search_is_known_until_something_is_chosen(
    open_engine, events: list[Event], failed: str
) -> None:
    engine = open_engine()
    rules = engine.settings.actions.model_copy(update={"ignore": ("impression", "crawl")})
    users = SuggestionUsers(engine._store, rules)
    engine.add_events(events)
    assert users.find_failed(Request(user_id="u"), NOW) == failed
    assert users.find_failed(Request(user_id="u", after="horror"), NOW) == ""  # has a search


def test_chips_begin_with_what_helped_after_the_failed_last_search(open_engine) -> None:
    engine = open_engine()
    assert texts(engine.suggest(Request(text=FAILED, after=FAILED))) == [SEARCHED]
    assert texts(engine.suggest(Request(text=FAILED))) == []
    user, westerns = "u2", (f"i{number}" for number in range(2, 60, 3))
    engine.add_events([Event(user, item, NOW - 5_000, "click") for item in westerns])
    assert texts(engine.suggest(Request(user_id=user)))[0] != SEARCHED
    engine.add_events([unsuccessful(user, FAILED, NOW)])
    assert texts(engine.suggest(Request(user_id=user)))[0] == SEARCHED
    assert texts(engine.suggest(Request(user_id=user, after="comedy")))[0] != SEARCHED


def with_level_queries(engine: Engine, kinds: str) -> EngineState:
    """A state whose queries are of these kinds, each of an item and words of its own, all level."""
    names = [f"{letter}tale {letter}story" for letter in "abcdefghijklmnopqrstuvwxyz"[:20]]
    engine.add_items([Item(f"new-{name}", name) for name in names])
    numbers = engine.state.catalogue.vocabulary.numbers([f"new-{name}" for name in names])
    candidates = [
        Candidate(name, kind, "rules", numbers[row : row + 1])  # type: ignore[arg-type]
        for row, (name, kind) in enumerate(zip(names, 20 * kinds.split(), strict=False))
    ]
    table = QueryTable.of(candidates, engine.state.catalogue, Categories())
    return replace(engine.state, queries=table, query_ranker=LogisticModel.prior(FEATURES, {}))


@pytest.mark.parametrize(
    ("focus", "searches", "is_told"), [(0.04, 0, False), (0.06, 0, True), (0.04, 1, True)]
)
def test_a_text_is_completed_by_phrases_that_are_about_something(
    reader: Engine, focus: float, searches: int, is_told: bool
) -> None:
    phrase = Candidate("number", "phrase", "rules", np.array([3, 6], np.int32))
    table = QueryTable.of([phrase], reader.state.catalogue, reader.state.queries.categories)
    facts = np.array([focus], np.float32), np.array([searches], np.int32)
    table = replace(table, focus=facts[0], searches=facts[1])
    state = replace(reader.state, queries=table, query_ranker=by_feature("is phrase"))
    parts = (state, reader.settings.queries, Request(text="numb", k=9), SuggestionUser())
    told = QuerySuggester(*parts).complete()
    assert ("number" in [query.text for query in told]) == is_told
