"""The quiet line about an evaluation that runs, and the report behind it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tiny_engine import TinyEngine
from wire_client import WireClient

from serendip.engine.artefacts.quality_report import REPORT_HTML, STATUS_FILE, QualityReport
from serendip.runtime.job_status import DONE, FAILED, RUNNING, JobStatus

LINE = '<p id="quality" class="quality"'
ASKS = 'hx-get="/report/status" hx-trigger="every 10s" hx-swap="outerHTML"'


@pytest.fixture
def client(tmp_path: Path) -> WireClient:
    return WireClient(TinyEngine(report=QualityReport(tmp_path)))


def say(folder: Path, state: str) -> None:
    JobStatus(state, "/secret/path is full").write(folder / STATUS_FILE)


def test_without_an_evaluation_a_page_says_nothing(client: WireClient) -> None:
    html = client.get("/?user=u").text
    assert LINE not in html
    assert "Quality report" not in html
    missing = client.get("/report")
    assert missing.status_code == 404
    assert "there is no report yet" in missing.text
    assert client.get("/report/status").text == ""


@pytest.mark.parametrize("path", ["/?user=u", "/search?q=drama", "/items/f1", "/report/status"])
def test_a_running_evaluation_is_one_line_that_asks_again(
    client: WireClient, tmp_path: Path, path: str
) -> None:
    say(tmp_path, RUNNING)
    html = client.get(path).text
    assert html.count(LINE) == 1
    assert ASKS in html
    assert "Measuring the quality." in html
    assert "Quality report" not in html


def test_the_end_is_said_where_it_was_awaited_and_linked_everywhere(
    client: WireClient, tmp_path: Path
) -> None:
    (tmp_path / REPORT_HTML).write_text("<!doctype html><title>Report</title>")
    say(tmp_path, DONE)
    ended = client.get("/report/status").text
    assert "The quality is measured:" in ended
    assert '<a href="/report">read the report</a>' in ended
    assert "hx-get" not in ended
    html = client.get("/?user=u").text
    assert LINE not in html
    assert '<a href="/report">Quality report</a>' in html
    report = client.get("/report")
    assert report.text == "<!doctype html><title>Report</title>"
    assert (
        "default-src 'none'; style-src 'unsafe-inline'" in report.headers["content-security-policy"]
    )


def test_a_failure_is_said_without_its_details(client: WireClient, tmp_path: Path) -> None:
    say(tmp_path, FAILED)
    for path in ("/?user=u", "/report/status"):
        html = client.get(path).text
        assert "The quality could not be measured; `serendip evaluate` says why." in html
        assert 'hx-get="/report/status"' not in html
        assert "secret" not in html


def test_an_evaluation_that_was_killed_is_not_awaited(client: WireClient, tmp_path: Path) -> None:
    JobStatus(RUNNING, "fit", time.time() - 3_600).write(tmp_path / STATUS_FILE)
    assert LINE not in client.get("/?user=u").text
    assert client.get("/report/status").text == ""
