"""What CONTRIBUTING links to works as it is written: the code of the pages, run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from added_model import added_package, page_blocks

import serendip
from serendip.content.encoders import text as text_encoders
from serendip.evaluate.metrics import METRICS
from serendip.testing import RecommenderContract

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
TestDice = METRIC["TestDice"]
"""The contract suites, inherited on the pages."""


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The registrations that the pages ask for, each a line in a table."""
    encoder, kind = ENCODER["PrefixEncoder"], METRIC["Dice"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(text_encoders._ENCODERS, encoder.name, lambda device: encoder())
        patch.setitem(METRICS, kind.name, kind)
        yield


def test_the_test_of_the_model_passes_in_a_package_of_its_own(tmp_path: Path) -> None:
    """As a package that knows Serendip as installed: model, entry point and test of the page."""
    (code,) = [code for code in page_blocks("python") if "RecommenderContract" in code]
    with added_package(tmp_path) as folder:
        (folder / "test_alphabet.py").write_text(code)
        paths = os.pathsep.join([str(folder), str(Path(serendip.__file__).parents[1])])
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_alphabet.py"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
        )
    inherited = [name for name in vars(RecommenderContract) if name.startswith("test_")]
    assert f"\n{len(inherited) + 1} passed in " in run.stdout, run.stdout + run.stderr


def test_the_pages_say_where_to_register() -> None:
    page = (GUIDE / "add-an-encoder.md").read_text()
    assert "PrefixEncoder.name: lambda device: PrefixEncoder()," in page
    assert "One entry in `METRICS`" in (GUIDE / "add-a-metric.md").read_text()
