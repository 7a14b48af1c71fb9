import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serendip.data.events.event import Event
from serendip.engine.engine import Engine
from serendip.engine.request import Request

USER = "visitor"
RECOMMENDS = [
    ("home", ()),
    ("similar", ("i4",)),
    ("cart", ("i4",)),
    ("thank_you", ("i4",)),
    ("ads", ()),
    ("digest", ()),
]


@pytest.fixture
def rated(shop: Path) -> Iterator[Engine]:
    with (shop / "serendip.toml").open("a") as file:
        file.write(
            "\n[actions]\ndislike_at_most = 2.0\n[surfaces.digest.min_value]\nthreshold = 0.0\n"
        )
    with closing(Engine.open(shop)) as opened:
        yield opened


def did(action: str, item: str, value: float | None = None, user: str = USER) -> Event:
    return Event(user, item, time.time(), action, value)


def shown(engine: Engine, surface: str, items: tuple[str, ...] = (), text: str = "") -> list[str]:
    answer = engine.recommend(Request(surface, USER, text=text, item_ids=items, k=60))
    return [item.item_id for item in answer.items]


NO = [("hide", None), ("dislike", None), ("report", None), ("unsubscribe", None), ("rate", 0.5)]


@pytest.mark.parametrize(("action", "value"), NO)
def test_a_rejected_item_is_not_recommended_again(
    rated: Engine, action: str, value: float | None
) -> None:
    rated.add_events([did("like", "i1")])
    before = {surface: shown(rated, surface, items) for surface, items in RECOMMENDS}
    for surface, items in RECOMMENDS:
        unwanted = before[surface][0]
        rated.add_events([did(action, unwanted, value)])
        assert unwanted not in shown(rated, surface, items)


@pytest.mark.parametrize(("action", "value"), [*NO, ("return", None), ("skip", None)])
def test_a_rejected_item_is_neither_interest_nor_evidence(
    rated: Engine, action: str, value: float | None
) -> None:
    home = rated.settings.all_surfaces()["home"]
    # What is alike to it is lowered, which would change the order.
    rated._surfaces["home"] = home.model_copy(update={"rejection_discount": 0.0})
    fresh = rated.recommend(Request("home", USER, k=60))
    rated.add_events([did(action, "i4", value)])
    after = rated.recommend(Request("home", USER, k=60))
    left = [item for item in fresh.items if action == "skip" or item.item_id != "i4"]
    assert [(item.item_id, item.reason) for item in after.items] == [
        (item.item_id, item.reason) for item in left
    ]
    for item in after.items[:10]:
        evidence = rated.explain(Request("home", USER), item.item_id).evidence
        assert all(ground.item_id != "i4" for ground in evidence)
    assert rated.chosen(USER) == []


def test_a_later_like_undoes_a_rejection_and_a_click_does_not(rated: Engine) -> None:
    around = shown(rated, "similar", ("i4",))
    rated.add_events([did("hide", around[0]), did("click", around[0])])
    assert around[0] not in shown(rated, "similar", ("i4",))
    rated.add_events([did("like", around[0])])
    assert around[0] in shown(rated, "similar", ("i4",))
    assert [(item.item_id, item.liked) for item in rated.chosen(USER)] == [(around[0], True)]
    rated.add_events([did("hide", around[0])])
    assert around[0] not in shown(rated, "similar", ("i4",))


def test_search_finds_disliked_items_but_not_hidden_ones(rated: Engine) -> None:
    text = "The comedy tale number 7"
    for action, is_shown in (("dislike", True), ("return", True), ("hide", False)):
        rated.add_events([did(action, "i7")])
        assert ("i7" in shown(rated, "search", text=text)) is is_shown


def test_returned_items_are_left_out_by_the_filter_seen(rated: Engine) -> None:
    rated.add_events([did("return", "i7"), did("skip", "i16")])
    assert "i7" not in shown(rated, "home")
    assert "i16" in shown(rated, "home")
    assert {"i7", "i16"} <= set(shown(rated, "similar", ("i4",)))


def test_a_rejection_does_not_affect_other_users(rated: Engine) -> None:
    before = rated.recommend(Request("home", "somebody", k=60))
    rated.add_events([did("hide", item.item_id) for item in before.items[:3]])
    assert rated.recommend(Request("home", "somebody", k=60)).items == before.items


def test_no_suggested_query_leads_to_a_rejected_item(rated: Engine) -> None:
    rated.add_events([did("like", "i4")])
    liked = [
        query
        for query in rated.suggest(Request(user_id=USER, k=60)).queries
        if query.item_id == "i4"
    ]
    assert [item.kind for item in liked] == ["like"]
    rated.add_events([did("dislike", "i4")])
    assert "i4" not in {
        query.item_id for query in rated.suggest(Request(user_id=USER, k=60)).queries
    }
    user = rated._suggestion_user(rated.state, USER)
    assert user.unwanted == {rated.state.catalogue.vocabulary.number("i4")}
