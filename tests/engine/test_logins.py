"""Visitors without an account: their session in the request, their login, and what wears them."""

from contextlib import closing
from pathlib import Path

import pytest
from small_shop import add_settings
from wire_client import WireClient

from serendip.data import Event
from serendip.data.users.user import User
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import DataError

NOW = 2e9


@pytest.fixture
def engine(shop: Path):
    add_settings(shop, '\n[surfaces.home.frequency]\nimpressions = 2\nwithin = "1d"\n')
    with closing(Engine.open(shop, lambda: NOW)) as opened:
        yield opened


def ids(answer) -> list[str]:
    return [item.item_id for item in answer.items]


def test_items_of_the_request_count_like_logged_ones(engine: Engine) -> None:
    chosen = ids(engine.recommend(Request("home", k=3)))
    of_request = engine.recommend(Request("home", items=(*chosen, "unknown"), k=8))
    assert not {*chosen} & {*ids(of_request)}  # they are seen
    engine.add_events([Event("v", item, NOW, "click") for item in chosen])
    assert ids(engine.recommend(Request("home", user_id="v", k=8))) == ids(of_request)


def test_a_login_merges_a_visitor_once(engine: Engine, shop: Path) -> None:
    chosen = ids(engine.recommend(Request("home", k=3)))
    twice = Event("v", chosen[0], NOW - 9, "click")
    engine.add_events([twice, twice, *(Event("v", item, NOW - 5, "like") for item in chosen)])
    engine.put_users(
        [User("v", {"plan": "trial", "country": "KR"}), User("newcomer", {"plan": "full"})]
    )
    client = WireClient(engine)
    for stored in (5, 0):
        merged = client.post("/v1/users/newcomer:merge", json={"visitor_id": "v"}).json()
        assert merged == {"received": stored, "new": stored}
        with closing(Workspace.open(shop).open_store()) as store:
            store.pack()  # the second merge reads packs
    counted = sorted(event.item_id for event in engine.history("newcomer"))
    assert counted == sorted([chosen[0], chosen[0], *chosen])
    assert dict(engine.user("newcomer").attributes) == {"plan": "full", "country": "KR"}


def test_nobody_is_merged_into_themselves_and_a_visitor_into_two_users(engine: Engine) -> None:
    engine.add_events([Event("v", "i1", NOW - 9, "click")])
    with pytest.raises(DataError, match="into itself"):
        engine.merge_user("v", "v")
    assert [engine.merge_user("v", user) for user in ("one", "two", "two")] == [1, 1, 0]
    assert engine.merge_user("one", "v") == 0  # what a login stored is not merged again
    assert engine.figures(7, 5).total.clicks == 1


def test_an_item_that_was_shown_too_often_rests(engine: Engine) -> None:
    request = Request("home", user_id="somebody", k=5)
    first, second, *_ = ids(engine.recommend(request))
    shown = [Event("somebody", first, NOW - 60 * n, "impression") for n in range(2)]
    shown += [
        Event("somebody", second, NOW - 60, "impression"),
        Event("somebody", second, NOW - 90_000, "impression"),  # more than a day ago
    ]
    engine.add_events(shown)
    assert ids(engine.recommend(request))[0] == second
    absence = engine.explain(request, first).absence
    assert (absence.stage, absence.text) == ("frequency", "You were shown it too often")
    assert first in ids(engine.recommend(Request("home", user_id="another", k=5)))
    assert first in ids(engine.search(engine.item(first).title, user_id="somebody"))
