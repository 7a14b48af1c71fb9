import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_prints_something(example: Path, shop: Path) -> None:
    arguments = [os.fspath(shop)] if "WORKSPACE" in example.read_text() else []
    done = subprocess.run(
        [sys.executable, os.fspath(example), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 3


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_at_most_60_lines(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 60
