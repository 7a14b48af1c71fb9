"""The page of a service with keys in a real Chromium: own clicks, nobody else, signing in."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tiny_pages import PHONE, at_widths, tiny_server

from serendip.data.api_key import IssuedKey, issue_key
from serendip.data.store.store import Store
from serendip.data.store.tables.api_keys import ApiKeys

pytestmark = pytest.mark.browser


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[ApiKeys]:
    with closing(Store.create(tmp_path / "serendip.db")):
        pass
    with closing(ApiKeys.open(tmp_path / "serendip.db")) as keys:
        yield keys


@pytest.fixture
def key(keys: ApiKeys) -> IssuedKey:
    issued = issue_key("", ["read:users"])
    keys.add(issued)
    return issued


@pytest.fixture
def address(tmp_path: Path, key: IssuedKey) -> Iterator[str]:
    with tiny_server("--keys", tmp_path / "serendip.db") as address:
        yield address


def visitor_of(page: Any) -> str:
    name = page.evaluate("document.body.dataset.user")
    assert isinstance(name, str)
    return name


def test_a_visitor_clicks_searches_and_likes_as_themselves(
    address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(address, PHONE)
    visitor = visitor_of(page)
    assert page.url == f"{address}/"  # the visitor is in a cookie, not in the address
    page.locator(".card-link").first.click()
    page.wait_for_url("**/items/*")
    page.get_by_role("button", name="Like").first.click()
    page.get_by_text("Your feed has changed").wait_for()
    page.goto(address)
    page.get_by_text("Because you liked").wait_for()
    assert visitor_of(page) == visitor
    page.fill("#q", "hor")
    page.get_by_role("option", name="Horror").wait_for()
    assert page.locator(".picker").count() == 0
    assert page.evaluate("document.cookie") == ""
    assert list(at_widths(page))


def test_a_key_opens_the_feeds_of_others_until_it_is_revoked(
    address: str, open_page: Callable[..., Any], key: IssuedKey, keys: ApiKeys
) -> None:
    page = open_page(address)
    visitor = visitor_of(page)
    page.locator(".card-link").first.click()
    page.wait_for_url("**/items/*")
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Key").fill(key.text)
    assert list(at_widths(page))
    page.get_by_role("button", name="Sign in").click()
    page.locator(".picker summary").click()
    page.locator(".picker-list").get_by_text(visitor).wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Sign in").wait_for()
    assert page.locator(".picker").count() == 0
    keys.revoke(key.key.key_id, time.time())
    page.goto(f"{address}/?user={visitor}")
    assert page.locator(".picker").count() == 0
