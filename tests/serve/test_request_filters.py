import gc
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from small_shop import add_settings, give
from wire_client import WireClient, error_of

from serendip.data.items.allowed_items import ItemSet
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.errors import DataError


@pytest.fixture(scope="module")
def engine(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = Path(shutil.copytree(trained_folder, tmp_path_factory.mktemp("f") / "shop"))
    opened = Engine.open(folder)
    give(opened, **{f"i{n}": {"price": 100.0 - n} for n in range(0, 60, 2)})
    yield opened
    opened.close()


@pytest.fixture
def client(engine: Engine) -> WireClient:
    return WireClient(engine)


def ask(client: WireClient, path: str, **parameters: Any) -> dict[str, Any]:
    response = client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    assert client.post(path, json=parameters).json()["items"] == response.json()["items"]
    return response.json()


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/v1/recommend", {"user_id": "u1"}),
        ("/v1/items/i1/similar", {}),
        ("/v1/search", {"q": "tale"}),
    ],
)
def test_every_item_passes_the_filters_and_the_list_is_not_cut_short(
    engine: Engine, client: WireClient, path: str, parameters: dict[str, Any]
) -> None:
    body = ask(client, path, limit=10, filter=["genre=western|horror", "price>=60"], **parameters)
    assert len(body["items"]) == 10
    for item in body["items"]:
        found = engine.item(item["item_id"])
        assert found.attributes["genre"] in ("western", "horror")
        assert found.attributes["price"] >= 60


def test_an_order_is_of_all_items_with_the_words_and_of_no_others(shop: Path) -> None:
    add_settings(shop, "\n[surfaces.search]\nsources = {words = 3, retriever = 3}\n")
    with closing(Engine.open(shop)) as opened:
        give(opened, **{f"i{number}": {"price": float(number)} for number in range(60)})
        facets = ("genre",)
        answer = opened.search("comedy tale", sort="price", facets=facets, k=60)
        assert [item.item_id for item in answer.items] == [f"i{n}" for n in range(1, 60, 3)]
        assert answer.facets["genre"].values == {"comedy": 20}
        dear = opened.search("comedy tale", sort="-price", filters=("price<=30",), k=2).items
        assert [item.item_id for item in dear] == ["i28", "i25"]
        some = opened.search("comedy qqwwq", sort="price", k=60).items  # no item has both words
        assert {int(item.item_id[1:]) % 3 for item in some} == {1}
        assert not opened.search("zzyzx qqwwq", sort="price").items  # nonsense
        (exact,) = opened.search("i7", sort="price").items
        assert exact.item_id == "i7"


@pytest.mark.parametrize(
    "parameters",
    [{"filter": "colour=red"}, {"facet": "colour"}, {"sort": "colour"}, {"filter": "genre"}],
)
def test_what_no_item_has_is_refused(client: WireClient, parameters: dict[str, str]) -> None:
    response = client.get("/v1/search", params={"q": "tale", **parameters})
    assert response.status_code == 422
    assert error_of(response)["hint"]


def test_what_is_no_number_or_filtered_out_is_told_so(client: WireClient) -> None:
    asked = {"item_id": "i1", "surface": "home", "user_id": "u0", "filter": "genre=western"}
    absence = client.get("/v1/explain", params=asked).json()["absence"]
    assert (absence["stage"], absence["text"]) == ("request", "It fails a filter of the request")

    for asked in ({"sort": "genre"}, {"filter": "genre>=3"}):
        refused = client.get("/v1/search", params={"q": "tale", **asked})
        assert refused.status_code == 422
        assert "is a number for no item" in error_of(refused)["message"]


def test_the_page_offers_what_results_share_and_takes_it_back(client: WireClient) -> None:
    html = client.get("/search", params={"q": "tale", "user": "u1"}).text
    assert re.findall(r'class="facet-name">(\w+)<', html) == ["genre"]
    links = re.findall(r'class="chip" href="(/search[^"]*filter=genre%3D(\w+))">', html)
    assert {name for _, name in links} == {"horror", "comedy", "western"}
    (western,) = [link for link, name in links if name == "western"]
    chosen = client.get(western.replace("&amp;", "&")).text
    shown = re.findall(r'class="card-title">The (\w+) tale', chosen)
    assert shown and set(shown) == {"western"}
    assert 'class="chip is-chosen" href="/search?q=tale&amp;user=u1" aria-current' in chosen
    (whole,) = set(re.findall(r'"(/more\?[^"]*)"', html))
    assert "filter" not in whole


def test_every_filter_of_a_search_can_be_taken_back_on_the_page(client: WireClient) -> None:
    filters = ["price>=1", "genre=western|horror", "genre=western"]
    asked = {"q": "tale", "user": "u1", "literal": "1", "filter": filters}
    html = client.get("/search", params=asked).text
    links = [unescape(link) for link in re.findall(r'is-chosen" href="([^"]*)"', html)]
    assert len(links) == len(filters)
    assert all(parse_qs(urlsplit(link).query)["literal"] == ["1"] for link in links)
    assert {frozenset(parse_qs(urlsplit(link).query)["filter"]) for link in links} == {
        frozenset(filters) - {one} for one in filters
    }


def test_an_order_explores_nothing_and_moves_no_sold_places(client: WireClient) -> None:
    body = ask(client, "/v1/recommend", user_id="u1", sort="price", limit=60)
    assert body["items"]
    assert not any("parts" in item for item in body["items"])
    refused = client.get("/v1/recommend", params={"surface": "ads", "sort": "price"})
    assert refused.status_code == 422
    assert "sells positions" in error_of(refused)["message"]


SOLD = '\n[surfaces.search]\nsponsored = {bid = "bid", positions = [1], floor = 0.5}\n'


def test_the_page_offers_no_order_where_search_sells_positions(shop: Path) -> None:
    add_settings(shop, SOLD)
    with closing(Engine.open(shop)) as opened:
        give(opened, **{f"i{n}": {"price": 1.0 + n, "bid": 1.0 + n} for n in range(60)})
        assert opened.sort_names("search") == () and "price" in opened.sort_names("home")
        client = WireClient(opened)
        for asked in ({"q": "tale"}, {"filter": "price>=1"}):
            plain = client.get("/search", params={"user": "u1", **asked}).text
            older = client.get("/search", params={"user": "u1", "sort": "-price", **asked})
            assert older.status_code == 200
            assert "<select" not in plain + older.text and "sort=" not in older.text
            assert re.findall('data-item="([^"]*)"', older.text)
            for path in ("/why", "/more"):
                (link, *_) = re.findall(rf'"({path}\?[^"]*)"', plain)
                assert client.get(f"{unescape(link)}&sort=-price").status_code == 200


def test_the_order_by_time_begins_with_what_appeared_last(shop: Path) -> None:
    with closing(Engine.open(shop)) as opened:
        assert "available_from" not in opened.sort_names("search")
        with pytest.raises(DataError, match="available_from"):
            opened.search("tale", sort="-available_from")
        items = [opened.item(f"i{number}") for number in range(4)]
        opened.add_items(replace(one, available_from=1e3 * n) for n, one in enumerate(items))
        assert opened.sort_names("search")[0] == "available_from"
        newest = [
            item.item_id for item in opened.search("tale", sort="-available_from", k=60).items
        ]
        assert newest[:4] == ["i3", "i2", "i1", "i0"] and len(newest) == 60
        oldest = opened.search("tale", sort="available_from", k=4).items
        assert [item.item_id for item in oldest] == ["i0", "i1", "i2", "i3"]


def test_sets_of_many_filters_are_not_kept(engine: Engine) -> None:
    derived = engine.state.derived
    for low in range(200):
        filters = (f"price>={low}", "genre!=comedy")
        engine.recommend(Request("search", text="tale", filters=filters, k=1))
    assert engine.state.derived is derived
    gc.collect()
    sets = [one for one in gc.get_objects() if type(one) is ItemSet]
    assert len([one for one in sets if not one.is_lasting]) < 100


def test_an_answer_from_less_obeys_the_filters_and_the_order(engine: Engine) -> None:
    request = Request("home", filters=("genre=comedy",), facets=("genre",), sort="-price", k=5)
    answer = engine.fall_back(request)
    found = [engine.item(item.item_id) for item in answer.items]
    assert len(found) == 5
    assert {item.attributes["genre"] for item in found if item} == {"comedy"}
    prices = [float(str(item.attributes["price"])) for item in found if item]
    assert prices == sorted(prices, reverse=True)
    assert list(answer.facets["genre"].values) == ["comedy"]


def test_lists_can_be_ordered_by_numbers_and_those_of_the_settings_lead(shop: Path) -> None:
    add_settings(shop, '\n[items.units]\ncost = "EUR"\n\n[quality]\nrating = "stars"\n')
    with closing(Engine.open(shop)) as opened:
        give(opened, i1={"year": 1999.0, "shop_id": 7.0, "stars": 4.5, "cost": 3.0})
        assert opened.sort_names("search") == ("cost", "stars", "year")


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
def surfaces(shop: Path) -> Iterator[WireClient]:
    add_settings(shop, SETTINGS)
    engine = Engine.open(shop)
    give(engine, i3={"bid": 2.0}, i4={"sold": ("KR",)}, i5={"sold": "kr"})
    yield WireClient(engine)
    engine.close()


def test_bought_places_are_marked_and_others_are_not(surfaces) -> None:
    asked = {"surface": "ads", "limit": 5, "parts": True}
    items = surfaces.get("/v1/recommend", params=asked).json()["items"]
    assert [item["sponsored"] for item in items] == [True, False, False, False, False]
    assert items[0]["item_id"] == "i3"
    assert items[0]["parts"]["bid"] == 2.0
    page = surfaces.get("/", params={"user": "u1", "surface": "ads"}).text
    assert page.count("Sponsored") == 1


def test_the_page_shows_a_surface_of_the_settings_and_its_further_parts(surfaces) -> None:
    page = surfaces.get("/", params={"user": "u1", "surface": "comedy_shelf"}).text
    assert 'data-surface="comedy_shelf"' in page
    assert "surface=comedy_shelf" in page[page.index('class="more"') :]
    parts = {"user": "u1", "surface": "comedy_shelf", "item_id": "i1"}
    why = surfaces.get("/why", params=parts)
    assert why.status_code == 200
    assert "genre=comedy" in why.text
    like = surfaces.post("/like", data=parts)
    assert like.status_code in (200, 303)
