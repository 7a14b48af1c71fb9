import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import SVG, png
from tiny_engine import TinyEngine, film, poster_pictures
from wire_client import WireClient

from serendip.data import Item
from serendip.serve.page.assets import draw_cover

REMOTE = "https://cdn.example.com/f4.jpg?a=1&b=2"


@pytest.fixture
def client(tmp_path: Path) -> WireClient:
    (tmp_path / "f0.png").write_bytes(png(20, 30))
    (tmp_path / "evil.png").write_bytes(SVG)
    posters = ["f0.png", "missing.png", "", "evil.png", REMOTE, "https://other.example.com/f5.jpg"]
    items = [
        replace(one, attributes={**one.attributes, "poster": poster})
        for one, poster in zip(map(film, range(6)), posters, strict=True)
    ]
    return WireClient(TinyEngine(items, pictures=poster_pictures(tmp_path)))


def pictures(html: str) -> list[str]:
    return [link.replace("&amp;", "&") for link in re.findall(r'<img src="([^"]*)" alt=""', html)][
        1:
    ]


def test_cards_link_to_files_and_to_allowed_hosts(client: WireClient) -> None:
    shown = set(pictures(client.get("/?user=u").text))
    assert shown == {"/media/items/f0", "/media/items/f1", "/media/items/f3", REMOTE}


def test_a_picture_is_served_as_what_it_is_and_is_asked_for_again_by_its_version(
    client: WireClient,
) -> None:
    answer = client.get("/media/items/f0")
    assert answer.status_code == 200
    assert answer.content == png(20, 30)
    headers = answer.headers
    assert headers["content-type"] == "image/png"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "private, max-age=600"
    again = client.get("/media/items/f0", headers={"if-none-match": headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get("/media/items/f0", headers={"if-none-match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize("item_id", ["f1", "f2", "f3", "f4", "none", "..%2F..%2Fetc%2Fpasswd"])
def test_without_a_picture_file_the_answer_is_404(client: WireClient, item_id: str) -> None:
    answer = client.get(f"/media/items/{item_id}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_an_id_that_is_a_path_leads_to_its_own_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(2, 3))
    item = Item("a/b c?d", "Odd", "", {"poster": "a.png"})
    client = WireClient(TinyEngine([item], pictures=poster_pictures(tmp_path)))
    (link,) = set(pictures(client.get("/?user=u").text))
    assert client.get(link).content == png(2, 3)


def policy(client: WireClient, path: str) -> dict[str, str]:
    header: Any = client.get(path).headers["content-security-policy"]
    parts = [part.strip().partition(" ") for part in header.split(";")]
    return {name: sources for name, _, sources in parts}


def test_pages_allow_pictures_of_the_configured_hosts_alone(client: WireClient) -> None:
    for path in ("/?user=u", "/items/f0?user=u", "/why?item_id=f0&user=u", "/search?q=drama"):
        found = policy(client, path)
        assert found["img-src"] == "'self' https://cdn.example.com"
        assert found["default-src"] == "'self'"
        assert found["object-src"] == "'none'"
    assert "img-src" not in policy(client, "/v1/items/f0")
    assert "img-src" not in policy(WireClient(), "/?user=u")  # no hosts are configured


codes = st.lists(st.integers(0, 100_000), max_size=4).map(tuple)


@given(st.text(max_size=9), codes)
def test_a_cover_is_well_formed_and_small_and_always_the_same(item_id, semantic_id):
    drawn = draw_cover(item_id, semantic_id)
    shapes = ElementTree.fromstring(drawn)
    assert {shape.tag for shape in shapes.iter()} == {"svg", "rect", "circle"}
    assert not "".join(shapes.itertext())
    assert len(drawn) < 16_000
    assert drawn == draw_cover(item_id, semantic_id)
    assert "style=" not in drawn
    assert "nan" not in drawn
