import http.client
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from tiny_pages import DESK, PHONE, WIDTHS, at_widths, tiny_server

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with tiny_server() as address:
        yield address


@pytest.fixture
def open_page(open_page: Callable[..., Any], address: str) -> Callable[..., Any]:
    return partial(open_page, base_url=address)


def history(address: str, user_id: str) -> list[dict]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    connection.request("GET", f"/v1/users/{user_id}/history")
    events = json.loads(connection.getresponse().read())["events"]
    connection.close()
    return events


def put(address: str, path: str, body: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    connection.request("PUT", path, json.dumps(body))
    assert connection.getresponse().status == 200
    connection.close()


def titles(page) -> list[str]:
    return page.locator("#feed .grid .card-title").all_inner_texts()


def test_search_with_suggestions_by_keyboard_alone(open_page, address):
    page = open_page("/?user=keys")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("film 04")
    options = page.get_by_role("option")
    options.first.wait_for()
    assert options.count() == 8
    box = page.get_by_role("combobox")
    assert box.get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert box.get_attribute("aria-activedescendant") == "suggestion-1"
    assert options.nth(1).get_attribute("aria-selected") == "true"
    page.keyboard.press("ArrowUp")
    assert box.input_value() == "Film 040"
    page.keyboard.press("Escape")
    assert box.input_value() == "film 04"
    assert box.get_attribute("aria-expanded") == "false"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/items/f40?user=keys")
    assert page.get_by_role("heading", level=1).inner_text() == "Film 040"
    event = history(address, "keys")[0]
    assert (event["item_id"], event["action"], event["surface"]) == ("f40", "click", "suggest")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_rule_sends_a_search_to_another_site_and_to_a_page_of_this_one(
    open_page, address, scripts
):
    with tiny_server() as other:
        for query, target in (("elsewhere", f"{other}/items/f2"), ("near", "/items/f3")):
            rule = {"action": "redirect", "queries": [query], "value": target}
            put(address, f"/v1/rules/{query}", rule)
            page = open_page("/?user=sent", java_script_enabled=scripts)
            page.get_by_role("combobox").fill(query)
            page.keyboard.press("Enter")
            page.wait_for_url(f"**{target}*" if target.startswith("/") else f"{target}*")
            assert page.get_by_role("heading", level=1).inner_text() == f"Film 00{target[-1]}"


@pytest.mark.parametrize("scripts", [True, False])
def test_results_are_put_in_an_order_by_keyboard(open_page, scripts):
    page = open_page("/search?q=drama&user=order", PHONE, java_script_enabled=scripts)
    orders = page.get_by_label("Sort by")
    assert orders.bounding_box()["height"] >= 32
    orders.focus()
    page.keyboard.type("Year, h")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=drama&user=order&sort=-year")
    assert page.get_by_label("Sort by").input_value() == "-year"
    years = [int(text[:4]) for text in page.locator(".grid .card-meta").all_inner_texts()]
    assert years and years == sorted(years, reverse=True)
    for width in at_widths(page, *WIDTHS):
        form = page.locator("form.sort").bounding_box()
        assert form["x"] >= 0 and form["x"] + form["width"] <= width


def test_opening_an_item_is_a_click_that_changes_the_feed(open_page, address):
    page = open_page("/?user=clicks")
    before = titles(page)
    page.locator("#feed .card-link").nth(3).click()
    page.wait_for_url("**/items/**")
    page.goto("/?user=clicks")
    assert titles(page) != before
    assert page.get_by_role("heading", name="Because you chose").is_visible()
    assert page.get_by_role("heading", name="Your history").is_visible()
    event = history(address, "clicks")[0]
    assert (event["action"], event["surface"], event["position"]) == ("click", "home", 3)
    assert event["request_id"]


LISTEN = """
window.told = Promise.resolve([]);
const beacon = navigator.sendBeacon.bind(navigator);
navigator.sendBeacon = (path, body) => {
  told = Promise.all([told, body.text()]).then(([all, text]) => [...all, ...JSON.parse(text)]);
  return beacon(path, body);
};
"""
"""Keeps a copy of what the page tells the service; a browser shows no bodies of beacons."""


def test_cards_that_came_into_view_are_told_once_as_impressions(open_page, address):
    page = open_page("/", PHONE)
    page.add_init_script(LISTEN)
    with page.expect_response("**/v1/events") as answer:
        page.goto("/?user=looker")
    assert answer.value.ok
    first = [event for event in page.evaluate("told") if event["surface"] == "home"]
    cards = page.locator("#feed .grid .card-link")
    assert {(event["action"], event["surface"]) for event in first} == {("impression", "home")}
    places = [event["position"] for event in first]
    assert sorted(places) == list(range(len(places)))
    assert 0 < len(places) < cards.count()
    shown = [cards.nth(place).get_attribute("data-item") for place in places]
    assert [event["item_id"] for event in first] == shown
    with page.expect_response("**/v1/events"):
        cards.nth(17).scroll_into_view_if_needed()
    home = [event for event in page.evaluate("told") if event["surface"] == "home"]
    later = [event["position"] for event in home[len(first) :]]
    assert 17 in later
    assert not set(places) & set(later)
    request = cards.first.get_attribute("data-request")
    assert {event["request_id"] for event in home} == {request}
    assert history(address, "looker") == []


def test_chips_are_told_with_their_chance_and_lead_to_a_search(open_page, address):
    page = open_page("/", 1280)
    page.add_init_script(LISTEN)
    with page.expect_response("**/v1/events"):
        page.goto("/?user=chips")
    shown = [event for event in page.evaluate("told") if event["surface"] == "suggest"]
    assert [event["query"] for event in shown[:2]] == ["Action", "Comedy"]
    assert {(event["action"], event["propensity"], event["request_id"]) for event in shown} == {
        ("impression", 1, "s1")
    }
    page.get_by_role("list", name="Searches for you").get_by_role("link", name="Comedy").click()
    page.wait_for_url("**/search?q=Comedy&user=chips")
    event = history(address, "chips")[0]
    assert (event["query"], event["action"], event["surface"], event["position"]) == (
        "Comedy",
        "click",
        "suggest",
        1,
    )
    assert page.locator(".chips .chip").first.inner_text() == "Action"


def test_only_a_search_without_results_is_told_by_itself(open_page, address):
    page = open_page("/", 1280)
    page.add_init_script(LISTEN)
    with page.expect_response("**/v1/events") as answer:
        page.goto("/search?q=Zzz&user=failed")
    assert answer.value.ok
    search = [event for event in page.evaluate("told") if event["surface"] == "search"]
    request = page.locator("#found").get_attribute("data-failed-request")
    assert request and search == [
        {
            "user_id": "failed",
            "item_id": "",
            "action": "impression",
            "surface": "search",
            "request_id": request,
            "query": "Zzz",
        }
    ]
    page.goto("/search?q=film&user=failed")
    assert not page.locator("[data-failed-request]").count()


def test_a_like_in_the_feed_changes_it_at_once_and_is_said_aloud(open_page):
    page = open_page("/?user=likes")
    before = titles(page)
    page.get_by_role("button", name="Like Film 000").first.click()
    page.get_by_role("heading", name="Because you liked Film 000").wait_for()
    assert titles(page) != before
    assert "Film 000" not in titles(page)
    assert "Liked Film 000" in page.locator("#live").inner_text()


def test_why_this_opens_the_evidence_and_escape_closes_it(open_page):
    page = open_page("/items/f3?user=why", DESK)
    page.get_by_role("button", name="Like Film 003").click()
    page.locator("#live", has_text="Liked").wait_for()
    page.goto("/items/f9?user=why")
    page.get_by_role("link", name="Why this?").click()
    panel = page.get_by_role("dialog")
    panel.wait_for()
    assert "Similar to Film 003" in panel.inner_text()
    assert page.evaluate("document.activeElement.id") == "why-title"
    numbers = panel.get_by_role("heading", name="The numbers")
    assert numbers.is_hidden()
    panel.get_by_text("Details", exact=True).click()
    assert numbers.is_visible()
    assert panel.get_by_role("heading", name="The stages").is_visible()
    for _ in at_widths(page):
        assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth")
    page.keyboard.press("Escape")
    panel.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.textContent") == "Why this?"


def test_no_page_scrolls_sideways(open_page):
    page = open_page("/items/f3?user=wide")
    page.get_by_role("button", name="Like Film 003").click()
    page.locator("#live", has_text="Liked").wait_for()
    for path in ("/?user=wide", "/search?q=drama&user=wide", "/items/f3?user=wide"):
        page.goto(path)
        assert list(at_widths(page, *WIDTHS)) == [*WIDTHS]


def test_words_can_be_read_on_their_ground_in_both_schemes(open_page):
    for scheme in ("light", "dark"):
        page = open_page("/search?q=drama&user=ink", color_scheme=scheme)
        for selector in (".card-title", ".card-meta", ".card-reason", ".why-link", ".foot p"):
            assert page.evaluate(CONTRAST, selector) >= 4.5, (scheme, selector)


CONTRAST = """selector => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ink = light(parts(getComputedStyle(document.querySelector(selector)).color));
  const ground = light(parts(getComputedStyle(document.body).backgroundColor));
  return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
}"""


def test_controls_are_large_enough_for_a_finger(open_page):
    page = open_page("/?user=finger", PHONE)
    for selector in (".like-button", "#q", ".picker summary", ".why-link"):
        box = page.locator(selector).first.bounding_box()
        assert box["height"] >= 32, selector


def test_the_essentials_work_without_scripts(open_page, address):
    page = open_page("/?user=plain", java_script_enabled=False)
    page.locator("#q").fill("horror")
    page.keyboard.press("Enter")
    page.locator(".grid .card-link").first.click()
    page.get_by_role("button", name="Like").first.click()
    page.wait_for_url("**/items/**")
    assert history(address, "plain")[0]["action"] == "like"
    page.get_by_role("link", name="Why this?").click()
    page.get_by_text("Details", exact=True).click()
    assert page.get_by_role("heading", name="The numbers").is_visible()


def test_hostile_titles_are_only_ever_text(open_page, hostile_texts):
    items = [
        {"item_id": f"x{number}{payload}", "title": f"Evil {payload}", "description": payload}
        | {"attributes": {"genres": ["Horror", payload]}}
        for number, payload in enumerate(hostile_texts)
    ]
    page = open_page("/?user=%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert page.request.post("/v1/items", data=items).ok
    page.get_by_role("combobox").fill("evil")
    page.get_by_role("option").first.wait_for()
    assert page.get_by_role("option").count() == len(hostile_texts)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?**")
    assert page.locator(".grid .card").count() == len(hostile_texts)
    for number in range(len(hostile_texts)):
        page.goto("/search?q=evil&user=x")
        page.locator(".grid .card-link").nth(number).click()
        page.wait_for_url("**/items/**")
        assert page.get_by_role("heading", level=1).inner_text().startswith("Evil ")
        page.get_by_role("button", name="Like Evil").first.click()
        page.locator("#live", has_text="Liked Evil").wait_for()
        page.get_by_role("link", name="Why this?").click()
        page.get_by_role("dialog").wait_for()
    assert page.locator("script").count() == 2
    for path in ("/items/f15?user=x", "/?user=x"):
        page.goto(path)
