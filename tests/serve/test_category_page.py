import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from small_shop import add_settings, give
from wire_client import WireClient

from serendip.data.items.catalogue import Item
from serendip.engine.engine import Engine
from serendip.engine.request import Request

FILTER = "genre=western"
FEW = "\n[surfaces.home]\nsources = {retriever = 3, popularity = 3}\n"


@pytest.fixture(scope="module")
def engine(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = Path(shutil.copytree(trained_folder, tmp_path_factory.mktemp("c") / "shop"))
    add_settings(folder, FEW)
    opened = Engine.open(folder)
    more = ({"parent_sku": f"PX{number // 3}", "price": 100.0 - number} for number in range(60))
    give(opened, **{f"i{number}": one for number, one in enumerate(more)})
    opened.add_items([Item("fresh", "Nobody knows it", attributes={"genre": "western"})])
    opened.delete_item("i30")
    yield opened
    opened.close()


@pytest.fixture
def client(engine: Engine) -> WireClient:
    return WireClient(engine)


@pytest.fixture(scope="module")
def western(engine: Engine) -> set[str]:
    items = (engine.item(f"i{number}") for number in range(60))
    return {item.item_id for item in items if item and item.attributes["genre"] == "western"}


def read_pages(client: WireClient, path: str, **parameters: Any) -> list[str]:
    ids: list[str] = []
    cursor = ""
    while cursor or not ids:
        response = client.get(path, params={"limit": 7, "cursor": cursor, **parameters})
        assert response.status_code == 200, response.text
        body = response.json()
        ids += [item["item_id"] for item in body["items"]]
        cursor = body["cursor"]
        if not body["items"]:
            break
    return ids


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/v1/search", {"q": ""}),
        ("/v1/search", {"q": " ?! ", "user_id": "u1"}),
        ("/v1/recommend", {"surface": "search"}),
    ],
)
def test_all_items_that_pass_are_listed_once(
    client: WireClient, western: set[str], path: str, parameters: dict[str, str]
) -> None:
    ids = read_pages(client, path, filter=FILTER, **parameters)
    assert len(ids) == len(set(ids))
    assert set(ids) == western | {"fresh"}


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/v1/search", {}),
        ("/v1/search", {"user_id": "u1"}),
        ("/v1/recommend", {}),
        ("/v1/recommend", {"surface": "search"}),
    ],
)
@pytest.mark.parametrize("sort", ["price", "-price"])
def test_an_order_is_of_all_items_that_pass(
    client: WireClient, western: set[str], path: str, parameters: dict[str, str], sort: str
) -> None:
    ids = read_pages(client, path, filter=FILTER, sort=sort, **parameters)
    by_price = sorted(western, key=lambda one: int(one[1:]), reverse=sort == "price")
    assert ids == [*by_price, "fresh"]  # without a price it is last


def test_a_user_has_an_order_of_their_own(engine: Engine) -> None:
    request = Request("search", filters=("price>=1",), k=60)
    lists = {
        tuple(item.item_id for item in engine.recommend(replace(request, user_id=user)).items)
        for user in ("", "u1", "u2", "u3")
    }
    assert len(lists) > 1
    assert len({frozenset(one) for one in lists}) == 1


def test_without_filters_nothing_is_listed(engine: Engine, client: WireClient) -> None:
    assert not engine.search("").items
    assert not engine.search("", sort="price").items
    refused = client.get("/v1/recommend", params={"surface": "search"})
    assert refused.status_code == 422


def test_the_page_shows_a_category(client: WireClient, western: set[str]) -> None:
    html = client.get("/search", params={"filter": FILTER, "user": "u1"}).text
    assert {one for one in western if f'data-item="{one}"' in html}
    assert '<h1 id="found">western</h1>' in html and "<title>western · Search" in html
    priced = client.get("/search", params={"filter": "price>=1", "user": "u1"}).text
    assert '<h1 id="found">All that match</h1>' in priced
    assert "western" in html and "PX" not in html  # ids are no words under a title or to choose by
    (link, *_) = (unescape(one) for one in re.findall(r'href="(/why[^"]*)"', html))
    assert parse_qs(urlsplit(link).query)["filter"] == [FILTER]
    assert "From all that may be shown" in client.get(link).text
    nothing = client.get("/search", params={"filter": "genre=none", "user": "u1"}).text
    assert "Nothing here passes these filters" in nothing


def test_the_chips_of_a_category_stay_in_it_and_find_something(client: WireClient) -> None:
    within = "price>=40"
    html = client.get("/search", params={"filter": within, "user": "u1", "sort": "price"}).text
    links = re.findall(r'class="chip" href="(/[^"]*)" data-click', html)
    searches = [one for one in map(unescape, links) if one.startswith("/search?")]
    assert searches
    for link in searches:
        query = parse_qs(urlsplit(link).query)
        assert (query["filter"], query["sort"]) == ([within], ["price"])
        assert 'class="card-title"' in client.get(link).text
