import os
import shutil
import subprocess
from pathlib import Path

import pytest
from processes import serving

FOLDER = Path(__file__).parents[2] / "clients" / "typescript"


def _find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def test_the_client_works_in_node(shop: Path) -> None:
    node = _find("node")
    with serving(shop) as (client, _):
        address = f"http://127.0.0.1:{client.connection.port}"
        done = subprocess.run(
            [node, "--test", os.fspath(FOLDER / "serendip.test.mjs")],
            env={**os.environ, "SERENDIP": address},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout
    assert "# pass 6" in done.stdout


def test_what_is_built_is_what_the_source_says_and_its_types_are_right(tmp_path: Path) -> None:
    tsc = _find("tsc")
    command = [tsc, "--project", os.fspath(FOLDER), "--outDir", os.fspath(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    built = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert built == {path.name: path.read_text() for path in (FOLDER / "lib").iterdir()}


def test_the_wrapper_is_at_most_200_lines() -> None:
    assert len((FOLDER / "serendip.ts").read_text().splitlines()) <= 200
