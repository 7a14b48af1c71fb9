from collections.abc import Callable
from typing import Any

import pytest
from tiny_pages import tiny_server

pytestmark = pytest.mark.browser


def test_the_api_is_shown_and_tried_at_docs_without_another_host(
    open_page: Callable[..., Any],
) -> None:
    with tiny_server() as address:
        page = open_page("about:blank")
        hosts = set[str]()
        page.on("request", lambda request: hosts.add(request.url.partition("/v1")[0]))
        page.goto(f"{address}/")
        page.get_by_role("link", name="API").click()
        page.locator("#operations-default-search .opblock-summary").click()
        page.get_by_role("textbox", name="q", exact=True).fill("horror")
        page.get_by_role("button", name="Execute").click()
        status = page.locator(".live-responses-table tbody .response-col_status")
        assert status.first.inner_text() == "200"
        page.wait_for_load_state("networkidle")
        own = {url for url in hosts if url.startswith((address, "data:"))}
        assert hosts == own
