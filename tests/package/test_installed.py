import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from packaging.utils import canonicalize_name

from serendip import __version__
from serendip.models.vector_index import ApproximateIndex
from serendip.runtime.extras import TRAINING_PACKAGES

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
SOURCES = ("src", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
NOT_IN_GIT = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")


def _run(*command: str | Path, code: int = 0, cwd: Path | None = None) -> str:
    """Run a command outside of the checkout; its output, after a check of its exit code."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(os.fspath, command)), capture_output=True, text=True, env=environment, cwd=cwd
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=NOT_IN_GIT)
        else:
            shutil.copy(source, tree / name)
    _run(UV, "build", "--quiet", "--out-dir", out, tree)
    return out


@pytest.fixture(scope="module")
def installed(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtual environment that has the locked packages of a service, no more."""
    folder = tmp_path_factory.mktemp("service") / "venv"
    _run(UV, "venv", "--quiet", "--python", sys.executable, folder)
    install = (UV, "pip", "install", "--quiet", "--python", folder / "bin" / "python")
    _run(*install, "--require-hashes", "-r", ROOT / "locks" / "serve.txt")
    (wheel,) = archives.glob("*.whl")
    _run(*install, "--no-deps", wheel)
    return folder / "bin"


def _files() -> set[str]:
    package = ROOT / "src" / "serendip"
    paths = (path for path in package.rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT / "src")) for path in paths if path.suffix != ".pyc"}


def test_both_archives_have_every_file_of_the_package_and_the_licences(archives: Path) -> None:
    with zipfile.ZipFile(archives / f"serendip-{__version__}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
    assert _files() - names == set()
    licences = f"serendip-{__version__}.dist-info/licenses"
    assert f"{licences}/LICENSE" in names
    for vendor in ("htmx", "swagger-ui"):
        assert f"{licences}/src/serendip/serve/page/static/vendor/{vendor}.LICENSE" in names

    with tarfile.open(archives / f"serendip-{__version__}.tar.gz") as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert {f"src/{name}" for name in _files()} - names == set()
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_what_is_locked_for_a_service_is_complete_and_brings_nothing_for_training(
    installed: Path,
) -> None:
    code = (
        "from importlib.util import find_spec; "
        f"print([name for name in {TRAINING_PACKAGES!r} if find_spec(name)])"
    )
    assert _run(installed / "python", "-c", code) == "[]\n"
    _run(UV, "pip", "check", "--quiet", "--python", installed / "python")


WITHOUT_GRAMMAR = """
import runpy, sys
sys.modules["rfc3987_syntax"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program whose check of a schema parses no address by the grammar of RFC 3987: for the
addresses of a service that takes ten times as long as all the rest."""

ADDRESS = re.compile(r"[a-zA-Z][\w+.-]*:(?:[^\x00-\x20\x7f<>\"{}|\\^`%]|%[0-9a-fA-F]{2})+")
"""A scheme, then characters that RFC 3987 allows."""


def test_the_bill_of_materials_names_what_is_locked(installed: Path, tmp_path: Path) -> None:
    tool, out = UV.with_name("cyclonedx-py"), tmp_path / "sbom.json"
    options = ("--output-reproducible", "-o", out, installed / "python")
    _run(sys.executable, "-c", WITHOUT_GRAMMAR, tool, "environment", *options)
    document = json.loads(out.read_text())
    assert document["bomFormat"] == "CycloneDX"
    references = [one["externalReferences"] for one in document["components"]]
    addresses = [one["url"] for one in itertools.chain(*references)]
    assert len(addresses) > 40
    assert [address for address in addresses if not ADDRESS.fullmatch(address)] == []
    components = {canonicalize_name(one["name"]): one["version"] for one in document["components"]}
    assert components.pop("serendip") == __version__
    locked = (ROOT / "locks" / "serve.txt").read_text()
    named = re.findall(r"^([\w-]+)==(\S+)", locked, re.MULTILINE)
    assert components.items() <= {(name, version) for name, version in named}
    assert len(components) > 40


RUN_EACH = """
import json, sys
from typer.testing import CliRunner
from serendip.cli.main import app
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, words)
    code = getattr(result.exception, "exit_code", result.exit_code)
    print(json.dumps([code, result.output, str(result.exception or "")]))
"""
"""Runs commands one after the other in one process, which imports everything once."""


def _run_each(programs: Path, folder: Path, commands: list[str]) -> list[tuple[int, str, str]]:
    words = json.dumps([shlex.split(command) for command in commands])
    lines = _run(programs / "python", "-c", RUN_EACH, words, cwd=folder).splitlines()
    return [tuple(json.loads(line)) for line in lines if line.startswith("[")]


def test_the_commands_that_train_name_the_extra(installed: Path, stand: Path) -> None:
    commands = [
        "evaluate",
        "evaluate --alignment",
        "judge distil --labels none.csv --gold none.csv",
        "demo -w films",
    ]
    ends = [(code, error) for code, _, error in _run_each(installed, stand, commands)]
    assert len(ends) == len(commands)
    ((code, error),) = set(ends)
    assert code == 7
    assert error.startswith("this needs the extra `train`, of which torch, onnx,")
    assert error.endswith('Run `pip install "serendip[train]"`.')
    assert not (stand / "films").exists()
    assert error.split(". ")[1] in _run(installed / "serendip", "train", code=7, cwd=stand)


def test_all_other_commands_need_no_extra(installed: Path, stand: Path) -> None:
    shop = stand.with_name("shop")
    shop.mkdir()
    for name in ("items.csv", "events.csv"):
        shutil.copy(stand / name, shop / name)
    commands = [
        f"init -w {shop} --items {shop}/items.csv --events {shop}/events.csv",
        f"doctor -w {shop}",
        "import",
        "status",
        "config show",
        "keys list",
        "recommend --batch --surface home --out lists.parquet",
        "embed items --out vectors.parquet",
    ]
    ends = _run_each(installed, stand, commands)
    assert [(code, error) for code, _, error in ends] == [(0, "")] * len(commands)
    assert (stand / "lists.parquet").stat().st_size > 0
    assert (stand / "vectors.parquet").stat().st_size > 0


@contextmanager
def _serve(programs: Path, folder: Path, *options: str) -> Iterator[HTTPConnection]:
    """The service of the wheel on a free port, once it is ready."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [os.fspath(programs / "serendip"), "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        env=environment,
    ) as process:  # fmt: skip
        lines: list[str] = []
        while not lines or not lines[-1].startswith("Ready:"):
            lines.append(process.stdout.readline())
            assert lines[-1], f"the service ended before it was ready: {lines}"
        connection = HTTPConnection("127.0.0.1", urlsplit(lines[-1].split()[1]).port, timeout=30)
        try:
            yield connection
        finally:
            connection.close()
            process.send_signal(signal.SIGTERM)


def _post(connection: HTTPConnection, path: str, body: Any) -> tuple[int, str]:
    headers = {"content-type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def _ask(connection: HTTPConnection, path: str, key: str = "") -> tuple[int, Any]:
    connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
    answer = connection.getresponse()
    body = answer.read().decode()
    return answer.status, json.loads(body) if body.startswith("{") else body


@pytest.fixture(scope="module")
def served(
    installed: Path, trained_stand: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HTTPConnection]:
    """The service of the wheel over a generation that was trained elsewhere."""
    folder = shutil.copytree(trained_stand, tmp_path_factory.mktemp("served") / "stand")
    with _serve(installed, Path(folder)) as connection:
        yield connection


def test_the_wheel_serves_a_prepared_generation(served: HTTPConnection) -> None:
    status, found = _ask(served, "/v1/search?q=horror+tale&limit=3")
    assert status == 200
    assert found["generation"] == "gen-1"
    assert len(found["items"]) == 3
    assert found["degraded"] == []
    status, page = _ask(served, "/")
    assert status == 200
    assert "<title>" in page
    assert _ask(served, "/static/vendor/htmx.min.js")[0] == 200


def test_the_wheel_takes_events_and_items_into_its_answers(served: HTTPConnection) -> None:
    item = {"item_id": "zz1", "title": "A horror tale", "attributes": {"genre": "horror"}}
    assert _post(served, "/v1/items", {"items": [item]})[0] == 200
    event = {"user_id": "u8", "item_id": "zz1", "timestamp": time.time(), "action": "rate"}
    assert _post(served, "/v1/events", {"events": [event]})[0] == 200
    paths = (
        "/v1/items/zz1/similar?limit=5",
        "/v1/recommend?user_id=u8&limit=5",
        "/v1/search?q=tale&user_id=u8&limit=5",
    )
    for path in paths:
        status, found = _ask(served, path)
        assert (status, len(found["items"]), found["degraded"]) == (200, 5, [])
    assert _ask(served, "/v1/explain?item_id=i1&user_id=u8")[0] == 200
    assert _ask(served, "/?user=u8")[0] == 200


SEARCH_AN_INDEX = """
import sys
from pathlib import Path
import numpy as np
from serendip.models.vector_index import ApproximateIndex
index = ApproximateIndex.open(Path(sys.argv[1]))
query = np.load(sys.argv[2])
print(index.search(query, 3)[0].tolist())
"""


def test_the_wheel_searches_an_index_of_a_large_catalogue(installed: Path, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(1_000, 8)).astype(np.float32)
    index = ApproximateIndex.build(vectors, vectors[:50])
    index.save(tmp_path)
    np.save(tmp_path / "query.npy", vectors[0])
    paths = (tmp_path, tmp_path / "query.npy")
    found = _run(installed / "python", "-c", SEARCH_AN_INDEX, *paths)
    assert found == f"{index.search(vectors[0], 3)[0].tolist()}\n"


def test_the_wheel_listens_for_others_once_there_is_a_key(installed: Path, stand: Path) -> None:
    serendip, others = installed / "serendip", ("--host", "0.0.0.0")
    refused = _run(serendip, "serve", *others, code=2, cwd=stand)
    assert "serendip keys create" in refused
    key = json.loads(_run(serendip, "keys", "create", "--json", cwd=stand))["key"]
    with _serve(installed, stand, *others) as connection:
        assert _ask(connection, "/v1/search?q=tale")[0] == 401
        assert _ask(connection, "/v1/search?q=tale", key)[0] == 200
        assert _ask(connection, "/health/live")[0] == 200
