"""The quiet line about a running evaluation in a real Chromium: it moves and ends by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_pages import PHONE, at_widths, tiny_server
from worlds import report_world

from serendip.engine.artefacts.quality_report import REPORT_HTML, STATUS_FILE
from serendip.evaluate.report.page import render_page
from serendip.runtime.job_status import DONE, RUNNING, JobStatus

pytestmark = pytest.mark.browser


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return tmp_path / "reports"


@pytest.fixture
def address(reports: Path) -> Iterator[str]:
    with tiny_server("--reports", reports) as address:
        yield address


def say(reports: Path, state: str) -> None:
    JobStatus(state).write(reports / STATUS_FILE)


def test_the_line_ends_with_a_link_without_a_reload(
    open_page: Callable[..., Any], address: str, reports: Path
) -> None:
    say(reports, RUNNING)
    page = open_page("about:blank", PHONE, base_url=address)
    page.clock.install()
    page.goto("/?user=reader")
    line = page.locator("#quality")
    assert line.inner_text() == "Measuring the quality."
    assert list(at_widths(page))
    page.evaluate("window.isSame = true")

    (reports / REPORT_HTML).write_text(render_page(report_world()))
    say(reports, DONE)
    page.clock.fast_forward(11_000)
    link = line.get_by_role("link", name="read the report")
    link.wait_for()
    assert page.evaluate("window.isSame")
    link.click()
    page.wait_for_url("**/report")
    assert page.get_by_role("heading", level=1).inner_text() == "Evaluation report"
    style = "getComputedStyle(document.querySelector('.verdict')).backgroundColor"
    assert page.evaluate(style) != "rgba(0, 0, 0, 0)", "the report's own styles are refused"
