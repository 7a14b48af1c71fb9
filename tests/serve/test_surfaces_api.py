"""Surfaces of the settings over HTTP and on the page: real engine, real wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from wire_client import WireClient, error_of

from serendip.engine.engine import Engine

SETTINGS = """
[surfaces.home]
filters = ["seen", "sold=request"]

[surfaces.comedy_shelf]
task = "home"
filters = ["genre=comedy"]

[surfaces.bar]
task = "search"

[surfaces.beside]
task = "similar"

[surfaces.ads]
sponsored = {positions = [0], floor = 0.0}
"""


@pytest.fixture
def client(shop: Path) -> Iterator[WireClient]:
    settings = shop / "serendip.toml"
    settings.write_text(settings.read_text() + SETTINGS)
    engine = Engine.open(shop)
    posted = [("i3", "bid", 2.0), ("i4", "sold", ("KR",)), ("i5", "sold", "kr")]
    for item_id, name, value in posted:
        item = engine.item(item_id)
        assert item is not None
        engine.add_items([replace(item, attributes={**item.attributes, name: value})])
    yield WireClient(engine)
    engine.close()


def ids(response) -> list[str]:
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["items"]]


def test_the_country_is_read_from_parameters_and_from_bodies(client) -> None:
    parameters = {"surface": "home", "country": "KR", "k": 50}
    assert set(ids(client.get("/v1/recommend", params=parameters))) == {"i4", "i5"}
    assert set(ids(client.post("/v1/recommend", json=parameters))) == {"i4", "i5"}
    assert len(ids(client.get("/v1/recommend", params={"k": 100}))) == 60
    explained = {"item_id": "i4", "surface": "home", "country": "KR"}
    trace = client.get("/v1/explain", params=explained).json()["trace"]
    assert trace["after sold=request"] == 2


def test_bought_places_are_marked_and_others_are_not(client) -> None:
    items = client.get("/v1/recommend", params={"surface": "ads", "k": 5}).json()["items"]
    assert [item["sponsored"] for item in items] == [True, False, False, False, False]
    assert items[0]["item_id"] == "i3"
    assert items[0]["parts"]["bid"] == 2.0
    page = client.get("/", params={"user": "u1", "surface": "ads"}).text
    assert page.count("Sponsored") == 1


@pytest.mark.parametrize(
    ("surface", "missing"), [("bar", "q"), ("beside", "item_id"), ("similar", "item_id")]
)
def test_what_a_surface_needs_follows_from_its_settings(client, surface, missing) -> None:
    response = client.get("/v1/recommend", params={"surface": surface})
    assert response.status_code == 422
    assert error_of(response)["message"].startswith(f"{missing} is missing")


def test_events_of_a_surface_of_the_settings_are_stored_with_its_name(client) -> None:
    event = {"user_id": "u", "item_id": "i1", "surface": "comedy_shelf"}
    assert client.post("/v1/events", json=event).json()["new"] == 1
    stored = client.get("/v1/users/u/history").json()["events"]
    assert [event["surface"] for event in stored] == ["comedy_shelf"]


def test_the_page_shows_a_surface_of_the_settings_and_its_further_parts(client) -> None:
    page = client.get("/", params={"user": "u1", "surface": "comedy_shelf"}).text
    assert 'data-surface="comedy_shelf"' in page
    assert "surface=comedy_shelf" in page[page.index('class="more"') :]
    parts = {"user": "u1", "surface": "comedy_shelf", "item_id": "i1"}
    why = client.get("/why", params=parts)
    assert why.status_code == 200
    assert "genre=comedy" in why.text
    like = client.post("/like", data=parts)
    assert like.status_code in (200, 303)


def test_a_digest_over_http_is_the_one_that_is_sent(client) -> None:
    sent = client.get("/v1/recommend", params={"surface": "digest", "user_id": "u1", "k": 50})
    assert len(ids(sent)) <= 5
    assert sent.json()["next"] == ""
