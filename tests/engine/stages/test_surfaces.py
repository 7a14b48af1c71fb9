import math
from typing import Any

import numpy as np
import pytest

from serendip.config import validate
from serendip.data.query import History, Query
from serendip.engine.config.settings import Settings
from serendip.engine.stages.selection import SurfaceStages
from serendip.engine.stages.surfaces import (
    DEFAULT_SURFACES,
    REQUEST_PARTS,
    SurfaceConfig,
    visible_to,
)
from serendip.errors import ConfigError


def settings_of(**surfaces: object) -> Settings:
    return validate(Settings, {"surfaces": surfaces}, "serendip.toml")


def test_a_table_has_the_values_of_its_task_but_for_the_keys_that_it_has() -> None:
    home = settings_of(home={"popularity_discount": 0.5}).all_surfaces()["home"]
    default = DEFAULT_SURFACES["home"].with_name("home")
    assert home == default.model_copy(update={"popularity_discount": 0.5})

    shelf = settings_of(shelf={"task": "similar", "filters": ["seen"]}).all_surfaces()["shelf"]
    assert shelf.sources == DEFAULT_SURFACES["similar"].sources
    assert shelf.likeness
    assert shelf.filters == ("seen",)
    assert shelf.needs == "items"


def test_needs_follow_from_the_task_and_words_are_searched_first() -> None:
    sources = {"retriever": 20, "words": 20, "content": 20}
    surface = settings_of(find={"task": "search", "sources": sources}).all_surfaces()["find"]
    asked = [source.name for source in SurfaceStages.of(surface).sources]
    assert asked == ["words", "retriever", "content"]

    needs = {name: surface.needs for name, surface in DEFAULT_SURFACES.items()}
    items = dict.fromkeys(("similar", "next", "cart", "thank_you"), "items")
    nothing = dict.fromkeys(("home", "ads", "digest"), "")
    assert needs == {"search": "query", **items, **nothing}
    for task in ("similar", "search"):
        assert SurfaceConfig(task=task, context=("user",), sources={"content": 1}).needs == ""


def test_a_relevance_filter_learns_from_labels_of_its_own_lists_or_of_typed_texts() -> None:
    tables = {"news": {"task": "home"}, "find": {"task": "search"}}
    named = {"digest": {"relevance_filter": {"labels": "home"}}}
    surfaces = settings_of(**tables, **named).all_surfaces()
    labels = {name: surface.relevance_filter.labels for name, surface in surfaces.items()}
    assert labels == {
        **{
            name: name for name in ("home", "similar", "next", "search", "cart", "thank_you", "ads")
        },
        "news": "news",
        "find": "search",
        "digest": "home",
    }


@pytest.mark.parametrize(
    ("surfaces", "message"),
    [
        ({"shelf": {}}, "`surfaces.shelf.task` is missing"),
        ({"shelf": {"task": "feed"}}, "`surfaces.shelf.task` = 'feed'"),
        ({"home": {"hide_seen": True}}, "unknown key `surfaces.home.hide_seen`. Valid keys: act"),
        ({"My shelf": {"task": "home"}}, "'My shelf' is not a valid name of a surface"),
        ({"suggest": {"task": "search"}}, "'suggest' is not a valid name of a surface"),
        ({"home": {"sources": {"popularity": 0}}}, "`surfaces.home.sources.popularity` = 0"),
        ({"home": {"sources": {"transition": 5}}}, "home.sources names 'transition'; use one of"),
        ({"home": {"sources": {"sponsored": 5}}}, "'sponsored' needs a table `sponsored`"),
        ({"home": {"action_weights": {"buy": 1}}}, "'buy'; use one of interact, like"),
        ({"ads": {"sponsored": {"action": "buy"}}}, "ads.sponsored.action names 'buy'"),
        ({"home": {"item_value": {"attribute": "p", "actions": ["rent"]}}}, "names 'rent'"),
        ({"ads": {"sponsored": {"positions": [1, 1]}}}, "positions contains a position twice"),
        ({"ads": {"sponsored": {"flor": 1}}}, "sponsored.flor`. Valid keys: action, bid, floor"),
        ({"home": {"filters": ["sen"]}}, "filters.0` = 'sen': filter 'sen' is no test of an attr"),
        ({"home": {"filters": [{"attribute": "x"}]}}, "filters.0`: write a test as a text"),
        (
            {"home": {"context": ["user"], "filters": ["c=request"]}},
            "the filter of 'c' reads the country, which context lacks",
        ),
        (
            {"home": {"diversity": {"most": 5, "window": 5}}},
            "most = 5 limits nothing: it must be below window = 5",
        ),
        ({"digest": {"min_value": {"k": 2}}}, "no list of at most k = 2 has min_items = 3"),
    ],
)
def test_an_error_names_the_wrong_key_or_value(surfaces: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_of(**surfaces)
    assert message in str(refused.value)
    assert str(refused.value).startswith("serendip.toml: ")


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


def visible_query(*parts: str) -> Query:
    surface = SurfaceConfig(task="similar", context=parts, sources={"content": 1})
    return visible_to(surface, QUERY)


def test_each_part_of_the_context_is_read_alone() -> None:
    assert (visible_query("user").user_id, len(visible_query("user").history)) == ("u1", 2)
    nothing = visible_query()
    assert (nothing.text_vector, len(nothing.source_items), nothing.country) == (None, 0, "")
    assert math.isnan(nothing.time) and nothing.exclude.tolist() == [4]
    assert visible_query("query").text == "tale"
    assert visible_query("query").text_vector is QUERY.text_vector
    assert visible_query("items").source_items.tolist() == [3]
    assert visible_query("country").country == "KR"
    assert visible_query("time").time == 5.0
    whole = visible_query(*REQUEST_PARTS)
    assert (whole.user_id, whole.text, whole.country, whole.time) == ("u1", "tale", "KR", 5.0)


def test_a_surface_need_not_weigh_what_the_ranker_predicts_and_may_weigh_nothing_else() -> None:
    table: dict[str, Any] = {"ranker": {"actions": ["interact", "purchase"]}}
    for home in ({"popularity_discount": 0.3}, {"action_weights": {"purchase": 3.0}}):
        validate(Settings, {**table, "surfaces": {"home": home}}, "serendip.toml")
    table["surfaces"] = {"home": {"action_weights": {"cart": 3.0}}}
    with pytest.raises(ConfigError, match="use one of interact, purchase"):
        validate(Settings, table, "serendip.toml")


@pytest.mark.parametrize(
    ("actions", "message"),
    [(["like"], "must contain 'interact'"), (["interact", "interact"], "contains an action twice")],
)
def test_a_ranker_predicts_interest_and_each_action_once(actions: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(Settings, {"ranker": {"actions": actions}}, "serendip.toml")
