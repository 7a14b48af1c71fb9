import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worlds import report_world

from serendip.engine.workspace import REPORT_HTML
from serendip.evaluate.report.document import render_page

SERVER = Path(__file__).parents[1] / "serve" / "tiny_server.py"

pytestmark = pytest.mark.browser


def test_the_report_is_shown_with_its_own_styles(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / REPORT_HTML).write_text(render_page(report_world()))
    command = [sys.executable, str(SERVER), "0", "--reports", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        page = open_page("/?user=reader", 390, base_url=process.stdout.readline().split()[1])
        page.get_by_role("link", name="Quality report").click()
        page.wait_for_url("**/report")
        assert page.get_by_role("heading", level=1).inner_text() == "Evaluation report"
        style = "getComputedStyle(document.querySelector('.verdict')).backgroundColor"
        assert page.evaluate(style) != "rgba(0, 0, 0, 0)", "the report's own styles are refused"
        process.terminate()
