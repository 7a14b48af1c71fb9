"""``[surfaces.<name>]``: what a table inherits, what it may say, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serendip.config import validate
from serendip.data.item import Catalogue, Item
from serendip.data.query import History, Query
from serendip.engine.settings import Settings
from serendip.engine.stages.attribute_filter import AttributeFilter
from serendip.engine.stages.surfaces import CONTEXT, DEFAULT_SURFACES, SurfaceConfig, visible_to
from serendip.errors import ConfigError


def settings_of(**surfaces: object) -> Settings:
    return validate(Settings, {"surfaces": surfaces}, "serendip.toml")


def test_there_are_seven_surfaces_before_anybody_writes_one() -> None:
    names = ["home", "similar", "search", "cart", "thank_you", "ads", "digest"]
    assert list(Settings().all_surfaces()) == names


def test_the_five_old_surfaces_say_what_they_always_said() -> None:
    behaviour = {"retriever": 100, "transitions": 100, "item-knn": 100, "content": 50}
    home = {**behaviour, "popularity": 100, "popularity-recent": 50, "new-items": 10}
    basket = {**behaviour, "popularity": 20}
    expected = {
        "home": ("home", home, ("seen",), 0.0, False),
        "similar": ("similar", {**behaviour, "content": 100}, (), 1.0, False),
        "search": ("search", {"words": 200, "retriever": 200}, (), 0.0, True),
        "cart": ("similar", basket, ("seen",), 0.0, False),
        "thank_you": ("similar", basket, ("seen",), 0.0, False),
    }
    for name, told in expected.items():
        one = DEFAULT_SURFACES[name]
        assert told == (
            one.task,
            one.sources,
            one.filters,
            one.popularity_discount,
            one.pin_exact_titles,
        )
        assert one.action_weights == {"interact": 1.0, "like": 1.0}
        assert (one.diversity, one.exploration, one.sponsored, one.min_value) == (None,) * 4


def test_a_table_changes_a_surface_and_keeps_the_keys_it_leaves_out() -> None:
    home = settings_of(home={"popularity_discount": 0.5}).all_surfaces()["home"]
    assert home == DEFAULT_SURFACES["home"].model_copy(update={"popularity_discount": 0.5})


def test_a_new_surface_takes_what_it_leaves_out_from_its_task() -> None:
    shelf = settings_of(shelf={"task": "similar", "filters": ["seen"]}).all_surfaces()["shelf"]
    assert shelf.sources == DEFAULT_SURFACES["similar"].sources
    assert shelf.popularity_discount == 1.0
    assert shelf.filters == ("seen",)
    assert shelf.needs == "items"


def test_settings_survive_json() -> None:
    before = settings_of(
        shelf={
            "task": "home",
            "filters": ["seen", {"attribute": "genres", "has": "Comedy"}],
            "diversity": {"most": 2},
            "exploration": {},
            "sponsored": {"positions": [0]},
        },
        digest={"min_value": {"k": 4}},
    )
    assert validate(Settings, before.model_dump(mode="json"), "json") == before


@pytest.mark.parametrize(
    ("surfaces", "told"),
    [
        ({"shelf": {}}, "`surfaces.shelf.task` is missing"),
        ({"shelf": {"task": "feed"}}, "`surfaces.shelf.task` = 'feed'"),
        ({"home": {"hide_seen": True}}, "unknown key `surfaces.home.hide_seen`. Valid keys: act"),
        ({"My shelf": {"task": "home"}}, "cannot be called 'My shelf'"),
        ({"suggest": {"task": "search"}}, "cannot be called 'suggest'"),
        ({"x" * 41: {"task": "home"}}, "up to 40"),
        ({"home": {"sources": {"popularity": 0}}}, "`surfaces.home.sources.popularity` = 0"),
        ({"home": {"sources": {"transition": 5}}}, "home.sources names 'transition'; use one of"),
        ({"home": {"sources": {"sponsored": 5}}}, "'sponsored' needs a table `sponsored`"),
        ({"home": {"action_weights": {"buy": 1}}}, "'buy'; use one of interact, like"),
        ({"ads": {"sponsored": {"action": "buy"}}}, "ads.sponsored.action names 'buy'"),
        ({"ads": {"sponsored": {"positions": []}}}, "`surfaces.ads.sponsored.positions`"),
        ({"ads": {"sponsored": {"positions": [1, 1]}}}, "a position is named twice"),
        ({"ads": {"sponsored": {"floor": 1.5}}}, "`surfaces.ads.sponsored.floor` = 1.5"),
        ({"ads": {"sponsored": {"flor": 1}}}, "sponsored.flor`. Valid keys: action, bid, floor"),
        ({"home": {"context": ["user", "weather"]}}, "`surfaces.home.context.1` = 'weather'"),
        ({"home": {"filters": ["sen"]}}, "`surfaces.home.filters.0.name` = 'sen'"),
        ({"home": {"filters": [{"attribute": "x"}]}}, "the filter of 'x' needs one test"),
        ({"home": {"filters": [{"attribute": "x", "has": "a", "equals": 1}]}}, "needs one test"),
        ({"home": {"filters": [{"attribute": "x", "equal": 1}]}}, "Valid keys: at_least, at_most"),
        (
            {"home": {"filters": [{"attribute": "x", "at_least": 3, "at_most": 2}]}},
            "the filter of 'x' keeps nothing: at_least = 3 is above at_most = 2",
        ),
        (
            {"home": {"context": ["user"], "filters": [{"attribute": "c", "equals": "request"}]}},
            "the filter `c = request` reads the country, and context does not name it",
        ),
        ({"home": {"diversity": {"most": 5, "window": 5}}}, "most = 5 of window = 5"),
        ({"home": {"exploration": {"share": 0.6}}}, "`surfaces.home.exploration.share` = 0.6"),
        ({"digest": {"min_value": {"k": 2}}}, "no list of at most k = 2 has min_items = 3"),
        ({"digest": {"send": {"k": 2}}}, "`surfaces.digest.send`. It is called `min_value` now."),
        ({"search": {"bad_matches": {}}}, "It is called `relevance_filter` now."),
        ({"search": {"relevance_filter": {"cut": 0.5}}}, "It is called `threshold` now."),
        ({"digest": {"min_value": {"min_value": 0.5}}}, "It is called `threshold` now."),
    ],
)
def test_what_is_wrong_is_named(surfaces: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_of(**surfaces)
    assert told in str(refused.value)
    assert str(refused.value).startswith("serendip.toml: ")


def test_what_a_request_must_have_follows_from_task_and_context() -> None:
    needs = {name: one.needs for name, one in DEFAULT_SURFACES.items()}
    items = dict.fromkeys(("similar", "cart", "thank_you"), "items")
    nothing = dict.fromkeys(("home", "ads", "digest"), "")
    assert needs == {"search": "query", **items, **nothing}
    for task in ("similar", "search"):
        assert SurfaceConfig(task=task, context=("user",), sources={"content": 1}).needs == ""


QUERY = Query(
    "home",
    text="tale",
    text_vector=np.ones(3, np.float32),
    user_id="u1",
    history=History.of_items(np.array([1, 2], np.int32)),
    source_items=np.array([3], np.int32),
    exclude=np.array([4], np.int32),
    time=5.0,
    country="KR",
)


def reading(*parts: str) -> Query:
    surface = SurfaceConfig(task="similar", context=parts, sources={"content": 1})
    return visible_to(surface, QUERY)


def test_what_the_context_does_not_name_is_not_read() -> None:
    nothing = reading()
    assert (nothing.user_id, len(nothing.history), nothing.text) == ("", 0, "")
    assert (nothing.text_vector, len(nothing.source_items), nothing.country) == (None, 0, "")
    assert math.isnan(nothing.time)
    assert nothing.exclude.tolist() == [4]
    assert nothing.surface == "similar"


def test_each_part_of_the_context_is_read_alone() -> None:
    assert (reading("user").user_id, len(reading("user").history)) == ("u1", 2)
    assert reading("query").text == "tale"
    assert reading("query").text_vector is QUERY.text_vector
    assert reading("items").source_items.tolist() == [3]
    assert reading("country").country == "KR"
    assert reading("time").time == 5.0
    whole = reading(*CONTEXT)
    assert (whole.user_id, whole.text, whole.country, whole.time) == ("u1", "tale", "KR", 5.0)


CATALOGUE = Catalogue(
    [
        Item("a", attributes={"country": "KR", "price": 5.0, "genres": ("Drama", "Comedy")}),
        Item("b", attributes={"country": ("kr", "US"), "price": 9.0, "genres": "comedy"}),
        Item("c", attributes={"country": "US", "price": 20.0}),
        Item("d"),
    ]
)


@pytest.mark.parametrize(
    ("test", "kept", "name"),
    [
        ({"attribute": "country", "equals": "us"}, "c", "country = us"),
        ({"attribute": "country", "equals": "request"}, "a", "country = request"),
        ({"attribute": "country", "has": "request"}, "ab", "country has request"),
        ({"attribute": "genres", "has": "Comedy"}, "ab", "genres has Comedy"),
        ({"attribute": "price", "equals": 9}, "b", "price = 9"),
        ({"attribute": "price", "at_least": 9}, "bc", "price from 9"),
        ({"attribute": "price", "at_most": 9}, "ab", "price to 9"),
        ({"attribute": "price", "at_least": 6, "at_most": 19}, "b", "price from 6 to 19"),
        ({"attribute": "colour", "has": "red"}, "", "colour has red"),
    ],
)
def test_a_filter_keeps_what_passes_its_test(test, kept: str, name: str) -> None:
    one = AttributeFilter(**test)
    mask = one.keep(Query(country="kr"), CATALOGUE)
    assert mask is not None
    assert "".join(CATALOGUE[number].item_id for number in np.flatnonzero(mask)) == kept
    assert one.name == name


def test_a_request_without_a_country_is_not_filtered_by_it() -> None:
    one = AttributeFilter(attribute="country", has="request")
    assert one.keep(Query(), CATALOGUE) is None


def test_built_in_surfaces_weigh_what_the_ranker_predicts() -> None:
    table = {"ranker": {"actions": ["interact", "purchase"]}}
    found = validate(Settings, table, "serendip.toml").all_surfaces()
    assert found["home"].action_weights == {"interact": 1.0}
    table["surfaces"] = {"home": {"action_weights": {"purchase": 3.0}}}
    home = validate(Settings, table, "serendip.toml").all_surfaces()["home"]
    assert home.action_weights == {"purchase": 3.0}


@pytest.mark.parametrize(
    ("actions", "told"),
    [(["like"], "must contain 'interact'"), (["interact", "interact"], "contains an action twice")],
)
def test_a_ranker_predicts_interest_and_each_action_once(actions: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        validate(Settings, {"ranker": {"actions": actions}}, "serendip.toml")
