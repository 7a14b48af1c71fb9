import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from tiny_pages import SERVER, at_widths, tiny_server

sys.path.insert(0, str(SERVER.parent))

from picture_files import JPEG_START, png

CDN, OTHER = "https://cdn.example.com/p.png", "https://other.example.com/p.png"
POSTERS = {"wide": "wide.png", "tall": "tall.png", "torn": "torn.jpg", "remote": CDN, "far": OTHER}
BOX = """item => {
  const picture = document.querySelector(`.grid [data-item=${item}] .cover-picture img`);
  const cover = document.querySelector(`.grid [data-item=${item}] .cover`);
  const {width, height} = picture.getBoundingClientRect();
  const frame = cover.getBoundingClientRect();
  return {natural: picture.naturalWidth, width: Math.round(width - frame.width),
          height: Math.round(height - frame.height), empty: width === 0 || height === 0};
}"""
ON_TOP = """item => {
  const cover = document.querySelector(`.grid [data-item=${item}] .cover`);
  const {left, top, width, height} = cover.getBoundingClientRect();
  const seen = document.elementsFromPoint(left + width / 2, top + height * 0.7);
  return seen.find(element => element.matches("img, svg")).tagName;
}"""
"""What is seen in the lower half of a card."""

HTTPS = re.compile("^https:")

pytestmark = pytest.mark.browser


def answer_with_a_picture(route: Any) -> None:
    route.fulfill(body=png(30, 45), content_type="image/png")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "wide.png").write_bytes(png(64, 20))
    (folder / "tall.png").write_bytes(png(20, 90))
    (folder / "torn.jpg").write_bytes(JPEG_START)
    with tiny_server("--pictures", folder) as address:
        yield address


@pytest.fixture
def shown(open_page: Callable[..., Any], address: str) -> Callable[..., Any]:
    """Opens a search that shows one card for each poster; pictures of any host are at hand."""

    def open_search() -> Any:
        page = partial(open_page, base_url=address)("/search?user=viewer")
        items = [
            {"item_id": name, "title": f"Poster {name}", "attributes": {"poster": poster}}
            for name, poster in POSTERS.items()
        ]
        assert page.request.post("/v1/items", data=items).ok
        page.route(HTTPS, answer_with_a_picture)
        page.goto("/search?q=poster&user=viewer", wait_until="networkidle")
        return page

    return open_search


def test_a_card_shows_the_own_picture_over_its_whole_frame(shown):
    page = shown()
    for name, natural in (("wide", 64), ("tall", 20), ("remote", 30)):
        page.locator(f".grid [data-item={name}]").scroll_into_view_if_needed()
        page.wait_for_function(
            "name => document.querySelector(`.grid [data-item=${name}] img`).naturalWidth", arg=name
        )
        whole = {"natural": natural, "width": 0, "height": 0, "empty": False}
        for _ in at_widths(page):
            page.locator(f".grid [data-item={name}]").scroll_into_view_if_needed()
            assert page.evaluate(BOX, name) == whole
            assert page.evaluate(ON_TOP, name) == "IMG"


def test_a_picture_that_does_not_load_leaves_the_drawn_cover(shown):
    page = shown()
    page.locator(".grid [data-item=torn]").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.grid [data-item=torn] img').complete")
    box = page.evaluate(BOX, "torn")
    assert (box["natural"], box["empty"]) == (0, True)
    assert page.evaluate(ON_TOP, "torn") == "svg"


def test_an_item_of_a_host_that_is_not_allowed_has_its_drawn_cover(shown):
    page = shown()
    assert page.locator(".grid [data-item=far] .cover-art").count() == 1
    assert page.locator(".grid [data-item=far] img").count() == 0


def test_the_browser_refuses_pictures_of_other_hosts(chromium, address):
    context = chromium.new_context()
    page = context.new_page()
    page.route(HTTPS, answer_with_a_picture)
    page.goto(f"{address}/search?user=viewer")
    load = """address => new Promise(resolve => {
      document.addEventListener("securitypolicyviolation", ({blockedURI}) => resolve(blockedURI));
      const picture = new Image();
      picture.onload = () => resolve("loaded");
      picture.src = address;
    })"""
    assert page.evaluate(load, CDN) == "loaded"
    assert page.evaluate(load, OTHER) == OTHER
    context.close()
