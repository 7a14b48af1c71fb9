"""What CONTRIBUTING links to works as it is written: the code of the pages, run as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serendip.content.encoders import text as text_encoders
from serendip.evaluate.metrics import METRICS

GUIDE = Path(__file__).parents[1] / "docs" / "guide"


def _run_page(name: str) -> dict[str, Any]:
    """The names that the Python blocks of a page define, one block after the other."""
    page = (GUIDE / name).read_text()
    names: dict[str, Any] = {"__name__": name}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        exec(compile(block, name, "exec"), names)
    return names


ENCODER = _run_page("add-an-encoder.md")
METRIC = _run_page("add-a-metric.md")

TestPrefixEncoder = ENCODER["TestPrefixEncoder"]
"""The contract suite, inherited on the page."""


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The registrations that the pages ask for, each a line in a table."""
    encoder, kind = ENCODER["PrefixEncoder"], METRIC["Dice"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(text_encoders._ENCODERS, encoder.name, lambda device: encoder())
        patch.setitem(METRICS, kind.name, kind)
        yield


@pytest.mark.parametrize("name", [name for name in METRIC if name.startswith("test_")])
def test_the_tests_of_the_metric_pass(name: str) -> None:
    METRIC[name]()


def test_the_pages_have_tests_and_say_where_to_register() -> None:
    assert len([name for name in METRIC if name.startswith("test_")]) == 2
    page = (GUIDE / "add-an-encoder.md").read_text()
    assert "PrefixEncoder.name: lambda device: PrefixEncoder()," in page
    assert "One entry in `METRICS`" in (GUIDE / "add-a-metric.md").read_text()
