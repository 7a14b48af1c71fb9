"""The order of a search on the page: a form that works without a script, and links that keep it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from tiny_engine import TinyEngine
from wire_client import WireClient

from serendip.engine.answer import Answer, SearchFeedback
from serendip.engine.listing import Facet
from serendip.engine.request import Request
from serendip.search.rewrites import Rewrite
from serendip.serve.page.params import PageQuery

ASKED = {"q": "drama", "user": "u", "literal": "1", "filter": ["genres=Drama", "year>=1950"]}


@pytest.fixture
def client() -> WireClient:
    return WireClient()


def read_options(html: str) -> dict[str, str]:
    found = re.findall(r'<option value="([^"]*)"( selected)?>([^<]*)</option>', html)
    return {value: unescape(text) for value, _, text in found}


def read_chosen(html: str) -> str:
    (chosen,) = re.findall(r'<option value="([^"]*)" selected>', html)
    return chosen


def read_form(html: str) -> list[tuple[str, str]]:
    (form,) = re.findall(r'<form class="sort"[^>]*>(.*?)</form>', html, re.DOTALL)
    fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    return [(name, unescape(value)) for name, value in fields]


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


def test_the_form_keeps_the_search_and_its_filters(client: WireClient) -> None:
    fields = read_form(client.get("/search", params={**ASKED, "sort": "-year"}).text)
    assert fields == [
        ("q", "drama"),
        ("user", "u"),
        ("literal", "1"),
        ("filter", "genres=Drama"),
        ("filter", "year>=1950"),
    ]


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


def test_a_search_of_nobody_names_no_user() -> None:
    assert PageQuery(q="drama").link() == "/search?q=drama"


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


class Numberless(TinyEngine):
    """Nothing can be ordered by."""

    def sort_names(self, surface: str) -> Sequence[str]:
        return ()


def test_without_results_or_without_numbers_there_is_nothing_to_choose(client: WireClient) -> None:
    for asked in ({"q": ""}, {"q": "zzz"}):
        assert "<select" not in client.get("/search", params=asked).text
    plain = WireClient(Numberless())
    assert "<select" not in plain.get("/search", params={"q": "drama"}).text
