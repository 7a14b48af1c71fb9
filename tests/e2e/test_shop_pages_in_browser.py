import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import serving, wait_until

from serendip.client import Client

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))

from picture_files import png

ROOT = Path(__file__).parents[2]
SHOP, BUILT = ROOT / "examples" / "shop", ROOT / "clients" / "typescript" / "lib"
PICTURE = "data:image/png;base64," + base64.b64encode(png(30, 45)).decode()
CARDS = """() => [...document.querySelectorAll(".card")].map(card => ({
  width: card.querySelector("img").naturalWidth, title: card.querySelector("a").innerText.trim(),
  link: card.querySelector("a").getAttribute("href"), price: card.querySelector("b").innerText,
  reason: card.querySelector("small").innerText,
}))"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def service(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a shop whose items have pictures, prices, links and brands."""
    shop = Path(shutil.copytree(trained_folder, tmp_path_factory.mktemp("pages") / "shop"))
    with serving(shop) as (wire, _):
        address = f"http://127.0.0.1:{wire.connection.port}"
        with Client(address) as client:
            items = [
                {
                    "item_id": item["item_id"],
                    "title": item["title"],
                    "attributes": {
                        **item["attributes"],
                        "image": PICTURE,
                        "price": number + 1,
                        "url": f"#{item['item_id']}",
                        "brand": ("Acme", "<b>Bold</b>")[number % 2],
                    },
                }
                for number, item in enumerate(client.all_items())
            ]
            assert client.add_items(items)["received"] == 60
        yield address


@pytest.fixture
def python_page(service: str) -> Iterator[str]:
    command = [sys.executable, "-m", "uvicorn", "--app-dir", os.fspath(SHOP), "page:app"]
    with subprocess.Popen(
        [*command, "--port", "0"],
        env={**os.environ, "SERENDIP": service},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            lines = (re.search(r"running on (\S+)", line) for line in process.stderr)
            yield next(found[1] for found in lines if found)
        finally:
            process.terminate()
            process.communicate()


def check_page(page: Any) -> None:
    page.wait_for_function("document.querySelectorAll('.card').length === 10")
    page.wait_for_function("[...document.images].every(image => image.naturalWidth > 0)")
    cards = page.evaluate(CARDS)
    assert all(re.fullmatch(r"\d+\.00 €", card["price"]) for card in cards)
    assert all(re.fullmatch(r"#i\d+", card["link"]) for card in cards)
    assert all(card["width"] == 30 and card["title"] for card in cards)
    assert any(card["reason"] for card in cards)  # of others there is no evidence
    facets = page.locator(".facet").all_inner_texts()
    assert sorted(re.sub(r" \(\d+\)", "", text) for text in facets) == ["<b>Bold</b>", "Acme"]
    page.get_by_placeholder("Search").fill("horror")
    page.get_by_placeholder("Search").press("Enter")
    page.wait_for_url("**q=horror**")
    page.locator(".card", has_text="horror").first.wait_for()
    page.locator(".facet", has_text="Acme").click()
    page.wait_for_url("**brand=Acme**")
    page.wait_for_selector(".card")
    assert page.locator(".facet").count() == 1


def test_a_page_of_the_python_client(open_page: Callable[..., Any], python_page: str) -> None:
    check_page(open_page(python_page))


def test_a_page_of_the_typescript_client_sends_the_click_when_it_is_left(
    open_page: Callable[..., Any], service: str
) -> None:
    page = open_page("about:blank")
    asked = list[str]()
    page.on("request", lambda one: asked.append(one.url.removeprefix(service)))
    page.route(
        "**/shop/**",
        lambda route: route.fulfill(path=find_file(route.request.url.partition("?")[0])),
    )
    page.goto(f"{service}/shop/page.html")
    check_page(page)
    assert asked.count("/v1/recommend") == 3  # one for each page
    page.locator(".card a").first.click()
    chosen = page.locator(".card a").first.get_attribute("href").removeprefix("#")
    page.goto("about:blank")  # before the batch is due
    with Client(service) as client:

        def find_click() -> list[Any]:
            newest = client.get_history("u1", limit=1)["events"][0]
            return [newest] if newest["item_id"] == chosen and newest["request_id"] else []

        wait_until(find_click, "the click", 20.0)
        assert find_click()[0]["position"] == 0


def find_file(address: str) -> Path:
    name = address.rpartition("/")[2]
    return SHOP / name if name.endswith(".html") else BUILT / name


def test_a_page_has_30_lines() -> None:
    for name in ("page.py", "page.html"):
        assert len((SHOP / name).read_text().splitlines()) <= 30
