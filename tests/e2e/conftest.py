"""A real Chromium, and pages that may have no errors."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="module")
def browser_path() -> Path:
    """The program that is started as the browser."""
    return CHROMIUM


@pytest.fixture(scope="module")
def chromium(browser_path: Path) -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as player:
        started = player.chromium.launch(executable_path=str(browser_path), args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def harmless() -> str:
    """Part of a message of the browser that is no fault of a page; empty = there is none."""
    return ""


@pytest.fixture
def open_page(chromium: Any, harmless: str) -> Iterator[Callable[..., Any]]:
    """Opens pages of a width; at the end none may have had an error or a dialog."""
    problems: list[str] = []
    contexts = []

    def open_at(address: str, width: int = 1280, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 844}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        page.on(
            "console",
            lambda line: (
                problems.append(f"{line.text} ({line.location['url']})")
                if line.type in ("error", "warning")
                else None
            ),
        )
        page.goto(address)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert [problem for problem in problems if not (harmless and harmless in problem)] == []


@pytest.fixture(scope="session")
def hostile_texts() -> list[str]:
    """Texts that would do something, were they ever more than text."""
    return [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "<svg/onload=alert(1)>",
        "<iframe srcdoc='<script>parent.alert(1)</script>'>",
        "' onmouseover='alert(1)",
        "javascript:alert(1)",
        "<div hx-get=/v1/users hx-trigger=load hx-target=body>",
    ]
