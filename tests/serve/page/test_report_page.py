"""The report on the quality of the engine, behind a link at the foot of each page."""

from __future__ import annotations

from pathlib import Path

from tiny_engine import TinyEngine
from wire_client import WireClient

from serendip.engine.workspace import REPORT_HTML


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
