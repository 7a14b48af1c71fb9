import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tiny_engine import TinyEngine, film
from wire_client import WireClient

from serendip.data import Item
from serendip.data.items.catalogue import Attribute
from serendip.engine.listing import Facet
from serendip.engine.request import Answer, Request, SearchFeedback, Suggestions
from serendip.engine.workspace import REPORT_HTML
from serendip.errors import UnknownItemError
from serendip.search.rewrites import Rewrite
from serendip.serve.page.assets import summarise_attributes
from serendip.serve.page.params import PageQuery

VOID = {"meta", "link", "input", "img", "br"}


@pytest.fixture
def client() -> WireClient:
    return WireClient()


class Balance(HTMLParser):
    """Checks that every element that opens also closes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(html: str) -> Balance:
    page = Balance()
    page.feed(html)
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    return page


PAGES = ["/", "/?user=u", "/search", "/search?q=drama&user=u", "/search?q=zzz", "/items/f1?user=u"]
PAGES += ["/why?item_id=f1&user=u", "/more?user=u&cursor=18&first=18", "/items/none"]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_balanced_html_without_inline_script_or_style(client, path):
    client.post("/v1/events", json={"user_id": "u", "item_id": "f3", "action": "like"})
    page = parsed(client.get(path).text)
    assert [tag for tag, _ in page.tags].count("h1") + path.startswith("/why") >= 1
    for tag, attributes in page.tags:
        assert "style" not in attributes
        assert tag != "style"
        assert not any(name.startswith("on") for name in attributes)
        assert tag != "script" or attributes["src"].startswith("/static/")


def test_a_new_visitor_gets_an_id_that_all_links_carry(client):
    html = client.get("/").text
    visitor = re.search(r'data-user="(visitor-[0-9a-f]{16})"', html)[1]
    links = re.findall(r'href="(/items/[^"]*)"', html)
    assert len(links) == 18
    assert all(f"user={visitor}" in link for link in links)
    assert visitor not in client.get("/").text


def test_a_search_that_is_asked_of_the_home_page_is_found_on_its_own(client):
    asked = {"q": " drama ", "user": "u", "literal": "1", "filter": ["year>=1960"], "sort": "year"}
    response = client.get("/", params=asked)
    assert response.status_code == 303
    address = urlsplit(response.headers["location"])
    assert address.path == "/search"
    assert parse_qs(address.query) == {
        name: [one.strip()] if isinstance(one, str) else one for name, one in asked.items()
    }
    assert "“drama”" in client.get(response.headers["location"]).text
    assert client.get("/", params={"filter": "year>=1960"}).status_code == 303
    assert client.get("/", params={"q": " ", "user": "u"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/search"])
def test_an_empty_filter_is_none(client, path):
    assert client.get(path, params={"filter": ["", " "], "user": "u"}).status_code == 200
    asked = {"q": "drama", "filter": ["", "year>=1960"], "user": "u"}
    response = client.get(path, params=asked)
    if path == "/":
        assert parse_qs(urlsplit(response.headers["location"]).query)["filter"] == ["year>=1960"]
    else:
        assert response.status_code == 200


def test_what_a_search_filters_by_is_not_suggested(client):
    asked = {"user": "u", "filter": "genres=comedy|Drama"}
    html = client.get("/search", params=asked).text
    assert 'data-query="Horror"' in html
    assert 'data-query="Comedy"' not in html and 'data-query="Drama"' not in html


def test_a_like_of_an_unknown_item_is_404_and_not_stored(client):
    assert client.post("/like", data={"user": "u", "item_id": "none"}).status_code == 404
    assert client.engine.history("u") == []


def test_show_more_leads_to_the_end_and_shows_each_item_once(client):
    shown: list[str] = []
    path = "/?user=u"
    while path:
        html = client.get(path).text
        shown += re.findall(r'data-item="([^"]*)" data-surface="home"', html)
        link = re.search(r'class="button" href="(/more[^"]*)"', html)
        path = link[1].replace("&amp;", "&") if link else ""
    assert len(shown) == len(set(shown)) == 60


@pytest.mark.parametrize("path", ["/", "/more?user=u&cursor=18&first=18&surface=home"])
def test_a_like_by_form_tells_the_same_place_as_a_click(client, path):
    html = client.get(path).text
    clicks = re.findall(r'data-surface="home" data-request="[^"]*" data-position="(\d+)"', html)
    forms = re.findall(r'value="home">\s*<input[^>]*>\s*<input[^>]*value="(\d+)"', html)
    first = 18 if "more" in path else 0
    assert clicks[:2] == [str(first), str(first + 1)]
    assert clicks == forms


def test_only_explored_items_tell_their_propensity_by_click_and_by_form():
    class Exploring(TinyEngine):
        def recommend(self, request):
            answer = super().recommend(request)
            drawn = replace(answer.items[9], parts={"propensity": 2e-7})
            return replace(answer, items=(*answer.items[:9], drawn, *answer.items[10:]))

    client = WireClient(Exploring())
    html = client.get("/?user=u").text
    told = re.findall(
        r'data-surface="home"[^>]* data-position="(\d+)" data-propensity="([^"]*)"', html
    )
    assert told == [("9", "2e-07")]
    assert re.findall(r'name="propensity" value="([^"]*)"', html) == ["2e-07"]
    client.post("/like", data={"user": "u", "item_id": "f3", "propensity": "2e-07"})
    assert client.engine.history("u")[0].propensity == 2e-7


def test_the_item_page_shows_attributes_codes_and_similar_items(client):
    html = client.get("/items/f3?user=u").text
    assert "<h1>Film 003</h1>" in html
    assert "A story about the number 3." in html
    assert "1953" in html
    assert '/search?q=Horror&amp;user=u"' in html
    assert "-".join(map(str, client.engine.semantic_id("f3"))) in html
    assert "More like this" in html


def test_why_is_a_page_of_its_own_and_a_panel(client):
    client.post("/v1/events", json={"user_id": "u", "item_id": "f3"})
    page = client.get("/why?item_id=f9&user=u").text
    panel = client.get("/why?item_id=f9&user=u", headers={"hx-request": "true"}).text
    for html in (page, panel):
        order = [
            html.index(word)
            for word in ("The evidence", '<details class="details">', "The numbers", "The stages")
        ]
        assert order == sorted(order)
        assert "<dt>What it is (similarity)</dt>" in html
        assert "<dt>popularity</dt>" in html
        assert "Similar to Film 003" in html
        assert "nan" not in html
    assert "<html" in page
    assert "<html" not in panel


PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) '",
    "</title><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7*7 }}{% include 'base.html' %}",
    "<!-- --><b>",
    "&lt;script&gt;",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_of_the_catalogue_never_becomes_markup(payload):
    items = [Item(payload, payload, payload, {payload: payload, "tags": (payload,)}), film(1)]
    client = WireClient(TinyEngine(items))
    events = {"user_id": payload, "item_id": payload, "query": payload, "action": "like"}
    client.post("/v1/events", json=events)
    values = {"user": payload, "q": payload, "item_id": payload}
    for path in ("/", "/search", "/why"):
        html = client.get(path, params=values).text
        page = parsed(html)
        for tag, attributes in page.tags:
            assert tag not in ("b", "iframe")
            assert not any(name.startswith("on") or name == "autofocus" for name in attributes)
            assert not str(attributes.get("href", "")).startswith("javascript")
            assert tag != "script" or str(attributes["src"]).startswith("/static/")
    # Of a named user: the ids that the page makes up may hold any digits.
    html = client.get("/search", params={"q": "{{ 7*7 }}", "user": "somebody"}).text
    assert "49" not in html.split("<main")[1][:900]


def test_items_that_vanish_while_a_page_is_made_are_left_out():
    class Vanishing(TinyEngine):
        def recommend(self, request):
            if request.surface == "similar":
                raise UnknownItemError(f"item {request.item_ids[0]!r} is gone.")
            return super().recommend(request)

        def item(self, item_id):
            return None if item_id == "f0" else super().item(item_id)

    client = WireClient(Vanishing())
    client.post("/v1/events", json={"user_id": "u", "item_id": "f3"})
    response = client.get("/?user=u")
    assert response.status_code == 200
    assert 'data-item="f0"' not in response.text
    assert "Because you" not in response.text


def test_static_files_are_cached_by_content_and_nothing_else_is(client):
    assert client.get("/").headers["cache-control"] == "no-store"
    link = re.search(r'href="(/static/page\.css\?v=[0-9a-f]{12})"', client.get("/").text)[1]
    response = client.get(link)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-type"] == "text/css; charset=utf-8"
    for path in ("/static/", "/static/x.css", "/static/vendor/README.md", "/static/%2e%2e/app.py"):
        assert client.get(path).status_code == 404


def told(understood: SearchFeedback, path: str) -> str:
    class Telling(TinyEngine):
        def recommend(self, request):
            answer = super().recommend(replace(request, text="drama"))
            return replace(answer, understood=None if request.literal else understood)

    return WireClient(Telling()).get(path).text


def test_corrections_are_told_and_doubtful_ones_offered_as_links():
    page = told(SearchFeedback("drama", True), "/search?q=darma&user=u")
    assert "This is what “drama” finds." in page
    assert '<a href="/search?q=darma&amp;user=u&amp;literal=1">darma</a>' in page
    assert "This is what" not in told(SearchFeedback("drama", True), "/search?q=darma&literal=1")
    page = told(SearchFeedback("darma", did_you_mean="dra<b>ma"), "/search?q=darma&user=u")
    assert "Did you mean “" in page
    assert '<a href="/search?q=dra%3Cb%3Ema&amp;user=u">dra&lt;b&gt;ma</a>' in page


class Told(TinyEngine):
    """Remembers what is requested; nothing completes a typed text."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Request] = []

    def suggest(self, request: Request) -> Suggestions:
        self.asked.append(request)
        return super().suggest(request)

    def recommend(self, request: Request) -> Answer:
        self.asked.append(request)
        return super().recommend(request)


@pytest.mark.parametrize("path", ["/?user=u", "/search?q=drama&user=u"])
def test_a_page_is_asked_in_the_language_of_the_visitor(path):
    engine = Told()
    client = WireClient(engine)
    client.get(f"{path}&language=en", headers={"accept-language": "ko-KR,ko;q=0.9"})
    client.get(path)
    assert [request.language for request in engine.asked] == ["ko-KR,ko;q=0.9"] * 2 + [""] * 2


def test_a_search_that_finds_nothing_is_told_so_in_plain_words_and_what_to_search_instead():
    engine = Told()
    page = WireClient(engine).get("/search?q=zzz&user=u").text
    suggested = [one for one in engine.asked if one.surface != "search"]
    assert [(one.text, one.after) for one in suggested] == [("zzz", "zzz"), ("", "zzz")]
    assert 'data-query="Comedy"' in page

    page = told(SearchFeedback("drama q", unknown=("q",)), "/search?q=drama+q")
    assert "Nothing here has “q”; the other words were searched." in page
    page = told(SearchFeedback("q", unknown=("q",), by_meaning=True), "/search?q=q")
    assert "Nothing here has these words. What follows is close in meaning." in page


def test_other_texts_are_links_and_no_chip_says_one_of_them_again():
    rewrites = (
        Rewrite("dra<b>ma", "broader", 0.8),
        Rewrite("comedy", "substitute", 0.6),
    )
    page = told(SearchFeedback("drama q", rewrites=rewrites), "/search?q=drama+q&user=u")
    links = re.search(r"Try instead: (.*?)</p>", page)
    assert links[1] == (
        '<a href="/search?q=dra%3Cb%3Ema&amp;user=u">dra&lt;b&gt;ma</a>, '
        '<a href="/search?q=comedy&amp;user=u">comedy</a>'
    )
    plain = told(SearchFeedback("drama q"), "/search?q=drama+q&user=u")
    assert "Try instead" not in plain
    assert 'data-query="Comedy"' in plain and 'data-query="Comedy"' not in page


def test_the_report_is_linked_everywhere_once_there_is_one(tmp_path: Path) -> None:
    client = WireClient(TinyEngine(report=tmp_path / REPORT_HTML))
    assert "Quality report" not in client.get("/?user=u").text
    missing = client.get("/report")
    assert missing.status_code == 404
    assert "there is no report yet" in missing.text
    (tmp_path / REPORT_HTML).write_text("<!doctype html><title>Report</title>")
    for path in ("/?user=u", "/search?q=drama", "/items/f1"):
        assert '<a href="/report">Quality report</a>' in client.get(path).text
    report = client.get("/report")
    assert report.text == "<!doctype html><title>Report</title>"
    policy = report.headers["content-security-policy"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policy


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ({"genres": ("Action", "Sci-Fi"), "year": 1999.0}, "1999 · Action, Sci-Fi"),
        ({"price": 33.5, "stock": 3.0, "link": "https://x.y/1", "kind": "Novel"}, "33.50 · Novel"),
        ({"blurb": "long " * 20, "brand": "Acme"}, "Acme"),
        ({"stock": 0.0}, "0"),
        ({"cost": 9.0, "brand": "Acme"}, "9 EUR · Acme"),
        ({"parent_sku": "TS-1001", "productId": 77.0, "price": 9.0, "brand": "Acme"}, "9 · Acme"),
        ({}, ""),
    ],
)
def test_a_number_and_words_tell_an_item(attributes: dict[str, Attribute], line: str) -> None:
    item = Item("i", "Title", "", attributes)
    assert summarise_attributes(TinyEngine([item]), item) == line


ASKED = {"q": "drama", "user": "u", "literal": "1", "filter": ["genres=Drama", "year>=1950"]}


def read_options(html: str) -> dict[str, str]:
    found = re.findall(r'<option value="([^"]*)"( selected)?>([^<]*)</option>', html)
    return {value: unescape(text) for value, _, text in found}


def read_chosen(html: str) -> str:
    (chosen,) = re.findall(r'<option value="([^"]*)" selected>', html)
    return chosen


def test_a_search_offers_the_order_of_the_engine_and_both_of_every_number(
    client: WireClient,
) -> None:
    html = client.get("/search", params={"q": "drama", "user": "u"}).text
    assert read_options(html) == {
        "": "Best match",
        "year": "Year, lowest first",
        "-year": "Year, highest first",
    }
    assert read_chosen(html) == ""
    assert '<label for="sort">' in html and '<select id="sort" name="sort">' in html


def test_every_link_to_this_search_or_a_part_of_it_keeps_the_order(client: WireClient) -> None:
    html = client.get("/search", params={**ASKED, "sort": "-year"}).text
    links = [unescape(one) for one in re.findall(r'href="(/(?:search|more|why)\?[^"]*)"', html)]
    assert {urlsplit(link).path for link in links} >= {"/search", "/why"}
    assert all(parse_qs(urlsplit(link).query)["sort"] == ["-year"] for link in links)


@pytest.mark.parametrize(
    ("filters", "category"),
    [
        ((), ""),
        (("genres=Drama",), "Drama"),
        (("price=49|20",), ""),
        (("price=49.50", "brand=1883|Nike", "car=Infinity"), "1883 or Nike, Infinity"),
        (
            ("genres=Drama|Comedy", "year>=1990", "brand!=Acme", "brand=Mori"),
            "Drama or Comedy, Mori",
        ),
    ],
)
def test_a_search_without_a_text_is_named_by_what_it_filters_by(
    filters: tuple[str, ...], category: str
) -> None:
    assert PageQuery(filter=filters).category == category
    assert PageQuery(q="drama").link() == "/search?q=drama"  # of nobody


class Corrected(TinyEngine):
    """Tells of corrections and other searches."""

    def recommend(self, request: Request) -> Answer:
        feedback = SearchFeedback(
            "drama", True, "dramas", rewrites=(Rewrite("film", "broader", 1),)
        )
        return replace(super().recommend(request), understood=feedback)


def test_corrections_and_other_searches_keep_filters_and_order() -> None:
    asked = {"q": "drama", "user": "u", "filter": "genres=Drama", "sort": "year"}
    html = WireClient(Corrected()).get("/search", params=asked).text
    links = [unescape(link) for link in re.findall(r'href="(/search[^"]*)"', html)]
    searches = {parse_qs(urlsplit(link).query)["q"][0] for link in links}
    assert {"drama", "dramas", "film"} <= searches
    for link in links:
        query = parse_qs(urlsplit(link).query)
        assert query["sort"] == ["year"]
        assert query["q"] == ["drama"] or query["filter"] == ["genres=Drama"]


class Alike(TinyEngine):
    """All items of an answer have the same number."""

    def sort_names(self, surface: str) -> Sequence[str]:
        return ("year", "available_from")

    def recommend(self, request: Request) -> Answer:
        facets = {"year": Facet({}, 1999.0, 1999.0)}
        return replace(super().recommend(replace(request, sort="")), facets=facets)


def test_a_number_that_all_results_share_is_no_order_unless_it_is_chosen() -> None:
    client = WireClient(Alike())
    html = client.get("/search", params={"filter": "genres=Drama", "q": "drama"}).text
    assert read_options(html) == {"": "Best match", "-available_from": "Newest first"}
    chosen = client.get("/search", params={"q": "drama", "sort": "-year"}).text
    assert read_options(chosen)["-year"] == "Year, highest first"
    assert read_chosen(chosen) == "-year"
