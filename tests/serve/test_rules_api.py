from pathlib import Path

import pytest
from processes import wait_until
from test_real_workers import pair
from wire_client import WireClient, error_of

from serendip.engine.engine import Engine

HIDE = {"action": "hide", "where": "genre=horror"}
FIRST = {"action": "pin", "queries": ["Tale"], "items": ["i40"]}


@pytest.fixture
def client(engine: Engine) -> WireClient:
    return WireClient(engine)


def put(client: WireClient, rule_id: str, rule: dict[str, object]) -> dict[str, object]:
    response = client.ask("PUT", f"/v1/rules/{rule_id}", json=rule)
    assert response.status_code == 200, response.text
    return response.json()


def find(client: WireClient, **parameters: object) -> list[str]:
    answer = client.get("/v1/search", params={"q": "tale", "limit": 60, **parameters}).json()
    return [item["item_id"] for item in answer["items"]]


def test_rules_are_stored_listed_obeyed_and_removed(client: WireClient) -> None:
    before = find(client)
    assert put(client, "a/b", HIDE)["version"] == 1
    told = put(client, "p", {**FIRST, "items": ["i40", "none"], "ends": "2099-01-01T00:00:00Z"})
    assert told == {"rule_id": "p", "version": 2, "unknown_items": ["none"]}
    listed = client.get("/v1/rules").json()
    assert [rule["rule_id"] for rule in listed["rules"]] == ["a/b", "p"]
    assert listed["rules"][1]["ends"] == "2099-01-01T00:00:00+00:00"
    found = find(client)
    assert found[0] == "i40"
    assert set(before) - set(found) == {f"i{number}" for number in range(0, 60, 3)}
    for rule_id in ("a/b", "p"):
        assert client.ask("DELETE", f"/v1/rules/{rule_id}").status_code == 200
    assert find(client) == before
    assert "'p'" in error_of(client.ask("DELETE", "/v1/rules/p"))["message"]


def test_answers_have_a_banner_and_an_address_only_where_a_rule_gives_them(
    client: WireClient,
) -> None:
    put(client, "b", {"action": "banner", "surfaces": ["search"], "value": "Sale!"})
    put(client, "r", {"action": "redirect", "queries": ["help"], "value": "https://h.example/"})
    told = client.get("/v1/search", params={"q": "help"}).json()
    assert (told["banner"], told["redirect"]) == ("Sale!", "https://h.example/")
    assert {"banner", "redirect"}.isdisjoint(client.get("/v1/recommend").json())


def test_a_preview_is_both_lists_and_stores_nothing(client: WireClient) -> None:
    body = {"surface": "search", "q": "tale", "rules": [{"rule_id": "p", **FIRST, "value": 2}]}
    shown = client.post("/v1/rules:preview", json=body).json()
    after, before = (
        [item["item_id"] for item in shown[name]["items"]]
        for name in ("with_rules", "without_rules")
    )
    assert (after[1], before) == ("i40", find(client, limit=10))
    assert client.get("/v1/rules").json() == {"version": 0, "rules": []}


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"action": "shout"}, "action = 'shout'"),
        ({"action": "pin", "items": "i1"}, "items = 'i1'"),
        ({"action": "pin", "items": ["i1"], "value": 0}, "rule 'x': value = '0.0'"),
        ({"action": "hide", "wher": "a=b"}, "wher is not known here"),
        ({"action": "hide", "where": "colour=red"}, "no item has the attribute 'colour'"),
        ({"action": "hide", "items": ["i1"], "begins": "soon"}, "begins = 'soon'"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_value(client: WireClient, rule, told) -> None:
    response = client.ask("PUT", "/v1/rules/x", json=rule)
    assert response.status_code == 422
    assert told in error_of(response)["message"]
    assert client.get("/v1/rules").json()["rules"] == []


def test_a_rule_counts_at_once_in_its_worker_and_soon_in_the_other(shop: Path) -> None:
    with pair(shop) as service, service.workers() as workers:
        before = workers[0].found("tale")
        for number in range(10):
            one, other = workers if number % 2 else workers[::-1]
            first = f"i{30 + number}"
            rule = {"action": "pin", "queries": ["tale"], "items": [first]}
            one.write("PUT", "/v1/rules/first", rule)
            assert one.found("tale")[0] == first
            wait_until(lambda: other.found("tale")[0] == first, f"rule {number}")  # noqa: B023
        one.write("DELETE", "/v1/rules/first")
        assert one.found("tale") == before
        wait_until(lambda: other.found("tale") == before, "the removal")
        assert service.end() == 0


def test_the_page_shows_the_banner_and_follows_a_redirect(client: WireClient) -> None:
    put(client, "b", {"action": "banner", "value": "Two <for> one"})
    for page in ("/", "/search?q=tale"):
        assert "Two &lt;for&gt; one" in client.get(page).text
    put(client, "r", {"action": "redirect", "queries": ["returns"], "value": "/items/i1?q=한글"})
    sent = client.get("/search?q=Returns")
    assert (sent.status_code, sent.headers["location"]) == (303, "/items/i1?q=%ED%95%9C%EA%B8%80")
    put(client, "r", {"action": "redirect", "queries": ["returns"], "value": "https://h.example/"})
    sent = client.get("/search?q=returns")
    assert (sent.status_code, sent.headers["refresh"]) == (200, "0; url=https://h.example/")
    assert '<a href="https://h.example/">' in sent.text


def test_the_page_says_which_rules_are_about_an_item(client: WireClient) -> None:
    put(client, "first", FIRST)
    page = client.get("/why?surface=search&q=tale&item_id=i40").text
    assert "Rules about it: first" in page
