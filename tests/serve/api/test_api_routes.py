from dataclasses import replace

import pytest
from tiny_engine import TinyEngine
from wire_client import WireClient, error_of

from serendip.data import Item
from serendip.engine.request import SearchFeedback


@pytest.fixture
def client() -> WireClient:
    return WireClient()


def ids(response) -> list[str]:
    return [entry["item_id"] for entry in response.json()["items"]]


def test_the_next_cursor_continues_where_the_answer_ended(client):
    first = client.get("/v1/search", params={"q": "horror", "limit": 3})
    rest = client.get(
        "/v1/search", params={"q": "horror", "limit": 3, "cursor": first.json()["cursor"]}
    )
    whole = client.get("/v1/search", params={"q": "horror", "limit": 6})
    assert ids(first) + ids(rest) == ids(whole)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/v1/search", {"q": "drama", "limit": 3, "user_id": "u"}),
        ("/v1/recommend", {"surface": "cart", "item_id": ["f1", "f2"], "limit": 3}),
        ("/v1/items/f1/similar", {"limit": 3}),
        ("/v1/suggest", {"q": "fi", "limit": 3}),
        ("/v1/explain", {"item_id": "f1", "surface": "home"}),
    ],
)
def test_a_read_answers_the_same_by_get_and_by_post(client, path, values):
    by_get, by_post = client.get(path, params=values), client.post(path, json=values)
    assert by_get.status_code == by_post.status_code == 200
    assert by_get.json() | {"request_id": ""} == by_post.json() | {"request_id": ""}


def test_an_item_tells_which_of_its_attributes_are_generated():
    client = WireClient(
        TinyEngine([Item("a", "Lamp", attributes={"kind": "x", "brand": "y"}), Item("b", "Rug")])
    )
    assert client.get("/v1/items/a").json()["generated_attributes"] == []
    marked = Item("a", attributes={"kind": "x", "brand": "y"}, generated_attributes=("brand",))
    client = WireClient(TinyEngine([marked, Item("b", "Rug")]))
    assert client.get("/v1/items/a").json()["generated_attributes"] == ["brand"]
    page = client.get("/items/a").text
    assert "Brand (generated)" in page
    assert "Kind (generated)" not in page


def test_ids_with_slashes_and_other_signs_are_ids_like_others():
    name = "a/b c?d=é&f#%"
    client = WireClient(TinyEngine([Item(name, "Odd"), Item("x", "Other")]))
    path = "/v1/items/a%2Fb%20c%3Fd%3D%C3%A9%26f%23%25"
    assert client.get(path).json()["item_id"] == name
    assert client.get(f"{path}/similar").status_code == 200
    assert client.ask("DELETE", path).json() == {"item_id": name, "deleted": True}


def test_an_explanation_names_the_history_it_rests_on_and_holds_no_nan(client):
    client.post("/v1/events", json={"user_id": "u", "item_id": "f3"})
    body = client.get("/v1/explain", params={"item_id": "f9", "user_id": "u"}).json()
    assert body["evidence"][0]["item_id"] == "f3"
    assert body["parts"] == {"content": 0.5, "popularity": 0.25, "nothing": None}
    assert list(body["trace"]) == ["sources", "filters", "selected"]


@pytest.mark.parametrize(
    "time",
    ["2024-05-01T12:00:00+02:00", "2024-05-01 10:00", "2024-05-01T10:00:00Z", 1_714_557_600],
)
def test_times_are_iso_8601_in_answers_and_seconds_or_iso_8601_in_requests(client, time):
    event = {"user_id": "iso", "item_id": "f1", "timestamp": time}
    assert client.post("/v1/events", json=event).status_code == 200
    (stored,) = client.get("/v1/users/iso/history").json()["events"]
    assert stored["timestamp"] == "2024-05-01T10:00:00+00:00"
    assert client.post("/v1/items", json={"item_id": "dated", "available_from": time}).is_success
    dated = client.get("/v1/items/dated").json()
    assert dated["available_from"] == "2024-05-01T10:00:00+00:00"
    refused = client.post("/v1/events", json=event | {"timestamp": "yesterday"})
    assert (refused.status_code, error_of(refused)["type"]) == (422, "data")


def test_events_on_unknown_items_are_stored_and_told(client):
    rows = [{"user_id": "u", "item_id": name} for name in ("nobody", "f1", "nobody")]
    answer = client.post("/v1/events", json=rows).json()
    assert answer == {"received": 3, "new": 3, "unknown_items": ["nobody"]}


def test_a_file_that_cannot_be_used_is_named_and_its_item_stored(client):
    item = {"item_id": "n", "title": "Zanzibar", "attributes": {"poster": "n.png"}}
    problem = "'n.png' is no file."
    left_out = [{"item_id": "n", "field": "poster", "problem": problem}]
    stored = {"received": 1, "new": 1, "left_out": left_out}
    assert client.post("/v1/items", json=item).json() == stored
    files = client.get("/v1/items/n").json()["files"]
    assert files == {"image": {"state": "left out", "problem": problem}}
    assert ids(client.get("/v1/search", params={"q": "zanzibar"})) == ["n"]


def test_an_unknown_route_is_404_and_a_wrong_method_405_that_names_the_right_ones(client):
    response = client.get("/v2/everything")
    assert (response.status_code, error_of(response)["type"]) == (404, "unknown_route")
    response = client.ask("PUT", "/v1/search")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"
    assert "GET, POST" in error_of(response)["hint"]


def test_metrics_count_by_route_pattern_and_never_by_path(client):
    client.get("/v1/items/secret-id")
    client.get("/v1/search", params={"q": "nothing matches"})
    client.post("/v1/events", json={"user_id": "u", "item_id": "f1"})
    text = client.get("/metrics").text
    assert 'serendip_request_seconds_count{route="/v1/items/{item_id:path}"} 1.0' in text
    assert 'serendip_empty_results_total{surface="search"} 1.0' in text
    assert 'serendip_generation_info{generation="gen-1"} 1.0' in text
    assert "serendip_events_total 1.0" in text
    assert "secret-id" not in text


def test_an_empty_catalogue_answers_every_read():
    client = WireClient(TinyEngine([]))
    for path in ("/v1/search?q=x", "/v1/recommend", "/v1/suggest?q=x", "/v1/users", "/", "/search"):
        assert client.get(path).status_code == 200


class Corrected(TinyEngine):
    """Reads every text as ``drama``, unless it is taken literally."""

    def recommend(self, request):
        if request.surface != "search":
            return super().recommend(request)
        text = request.text if request.literal else "drama"
        answer = super().recommend(replace(request, text=text))
        return replace(answer, understood=SearchFeedback("drama", not request.literal, "", ("x",)))


def test_an_answer_tells_how_the_words_were_read_and_takes_them_literally_where_asked():
    client = WireClient(Corrected())
    feedback = client.get("/v1/search?q=darma").json()["query"]
    assert (feedback["searched"], feedback["is_corrected"]) == ("drama", True)
    assert (feedback["did_you_mean"], feedback["unknown"]) == ("", ["x"])
    for flag in ("1", "true"):
        assert not client.get(f"/v1/search?q=darma&literal={flag}").json()["query"]["is_corrected"]
    body = {"q": "darma", "literal": True}
    assert not client.post("/v1/search", json=body).json()["query"]["is_corrected"]
    assert client.get("/v1/search?q=darma&literal=perhaps").status_code == 422
    assert "query" not in client.get("/v1/recommend?surface=home").json()


@pytest.mark.parametrize(
    ("path", "depends"),
    [
        ("/v1/search?q=film", True),
        ("/v1/recommend", True),
        ("/v1/items/f1/similar", True),
        ("/v1/explain?item_id=f1", True),
        ("/v1/suggest?q=fi", True),
        ("/v1/items/f1", False),
        ("/health/ready", False),
    ],
)
def test_caches_are_told_whether_an_answer_depends_on_the_language(client, path, depends):
    assert (client.get(path).headers.get("vary") == "accept-language") is depends
    if depends and "similar" not in path:
        route, _, query = path.partition("?")
        body = dict(pair.split("=") for pair in query.split("&") if pair)
        assert client.post(route, json=body).headers["vary"] == "accept-language"


def test_several_items_and_users_are_read_and_written_at_once(client):
    users = [{"user_id": "a", "attributes": {"plan": "gold"}}, {"user_id": "b"}]
    assert client.post("/v1/users", json=users).json()["users"][0]["attributes"] == {"plan": "gold"}
    read = client.post("/v1/users:get", json={"user_ids": ["b", "a", "nobody"]}).json()["users"]
    assert [(one["user_id"], one["attributes"]) for one in read] == [
        *(("b", {}), ("a", {"plan": "gold"}), ("nobody", {})),
    ]
    answer = client.post("/v1/items:get", json={"item_ids": ["f2", "nothing", "f1", "f2"]}).json()
    assert [item["item_id"] for item in answer["items"]] == ["f2", "f1"]
    assert answer["unknown"] == ["nothing"]


def test_a_patch_changes_what_it_names_and_an_invalid_one_nothing(client):
    attributes = {"year": 1990.0, "brand": "Acme"}
    client.post("/v1/items", json={"item_id": "p", "title": "Old", "attributes": attributes})
    body = {"title": "New", "attributes": {"brand": None, "stock": 2}}
    changed = client.ask("PATCH", "/v1/items/p", json=body).json()
    assert (changed["title"], changed["attributes"]) == ("New", {"year": 1990.0, "stock": 2.0})
    for invalid in ({"attributes": {"x": {"a": 1}}}, {"titel": "x"}, {"title": None}, [], "x"):
        assert client.ask("PATCH", "/v1/items/p", json=invalid).status_code == 422
        assert client.ask("PATCH", "/v1/users/p", json=invalid).status_code == 422
    assert client.get("/v1/items/p").json() == changed
    assert client.ask("PATCH", "/v1/items/none", json=body).status_code == 404
    told = client.ask("PATCH", "/v1/users/p", json={"attributes": {"plan": "gold"}}).json()
    assert (
        told == client.get("/v1/users/p").json() == {"user_id": "p", "attributes": {"plan": "gold"}}
    )


def test_the_catalogue_is_listed_in_parts(client):
    found, cursor = [], ""
    while cursor or not found:
        part = client.get("/v1/items", params={"limit": 7, "cursor": cursor}).json()
        found += [item["item_id"] for item in part["items"]]
        cursor = part["cursor"]
    assert found == sorted(set(found)) and {f"f{number}" for number in range(60)} <= set(found)


def test_items_carry_the_fields_that_are_asked_for(client):
    (item,) = client.get("/v1/search?q=film+007&limit=1&fields=year,%20description").json()["items"]
    assert item["attributes"] == {"year": 1957.0, "description": "A story about the number 7."}
    assert "parts" not in item
