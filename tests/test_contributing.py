import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType
from typing import Any, cast

import numpy as np
import pytest
from added_model import added_package, page_blocks

import serendip
from serendip.content.encoders import text as text_encoders
from serendip.data import AllowedItems, ItemSet, Query
from serendip.data.store import migrations
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages import sources
from serendip.engine.stages.batch import Batch
from serendip.engine.stages.sources import Source
from serendip.engine.state import EngineState
from serendip.testing import RecommenderContract

GUIDE = Path(__file__).parents[1] / "docs" / "guide"


def _run_page(name: str, **known: Any) -> dict[str, Any]:
    """The names that the Python blocks of a page define, one block after the other."""
    page = (GUIDE / name).read_text()
    names: dict[str, Any] = {**known, "__name__": name}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        exec(compile(block, name, "exec"), names)
    return names


STAGE_NAMES = {
    one.__name__: one for one in (AllowedItems, Batch, Engine, EngineState, ItemSet, Query, replace)
} | {"np": np}
"""What a file of stages, and one of their tests, import."""

ENCODER = _run_page("add-an-encoder.md")
METRIC = _run_page("add-a-metric.md")

TestPrefixEncoder = ENCODER["TestPrefixEncoder"]
TestDice = METRIC["TestDice"]
"""The contract suites, inherited on the pages."""


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The registration that a page asks for, a line in a table."""
    encoder = ENCODER["PrefixEncoder"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(text_encoders._ENCODERS, encoder.name, lambda device: encoder())
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


def test_the_endpoint_of_the_page_answers_in_a_copy_of_the_package(tmp_path: Path) -> None:
    """Three files edited as the page says, and its test over them."""
    page = (GUIDE / "add-an-endpoint.md").read_text()
    blocks = [
        textwrap.dedent(code)
        for code in re.findall(r"^ *```python\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE)
    ]
    request, response, method, line, code = blocks
    shutil.copytree(SOURCE, tmp_path / "serendip", ignore=shutil.ignore_patterns("__pycache__"))
    api = tmp_path / "serendip" / "serve" / "api"
    for file, added in (("requests.py", request), ("responses.py", response)):
        (api / file).write_text((api / file).read_text() + "\n\n" + added)
    routes = (api / "routes.py").read_text()
    users = '("GET", "/v1/users", self.list_users, responses.UsersOut, of_users)'
    for place, added in (
        ("from serendip.serve.api.requests import (\n", "    ActivityQuery,\n"),
        (f"{' ' * 12}{users},\n", textwrap.indent(line, " " * 12)),
        (
            "    async def list_users(",
            textwrap.indent(method, " " * 4) + "\n    async def list_users(",
        ),
    ):
        assert routes.count(place) == 1
        routes = routes.replace(place, added if place in added else place + added)
    (api / "routes.py").write_text(routes)
    (tmp_path / "test_activity.py").write_text(code)
    paths = os.pathsep.join([str(tmp_path), str(ROOT / "tests" / "serve")])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_activity.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert f"\n{code.count('def test_')} passed in " in run.stdout, run.stdout + run.stderr


def test_the_source_of_the_page_proposes_candidates_in_a_surface(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = _run_page("add-a-stage.md", **{**vars(sources), **STAGE_NAMES})
    source = names["LocalItems"]()
    monkeypatch.setitem(cast("dict[str, Source]", sources.OWN_SOURCES), source.name, source)
    settings = shop / "serendip.toml"
    settings.write_text(
        f"{settings.read_text()}\n[surfaces.local]\ntask = 'home'\nsources = {{local-items = 5}}\n"
    )
    with closing(Engine.open(shop)) as engine:
        names["test_local_items_are_allowed_items_of_the_country_of_the_request"](engine)
        answer = engine.recommend(Request("local", country="France"))
    assert {item.item_id for item in answer.items} == {"i2", "i3"}


def test_the_pages_say_where_to_register() -> None:
    page = (GUIDE / "add-an-encoder.md").read_text()
    assert "PrefixEncoder.name: lambda device: PrefixEncoder()," in page
    assert "`RANKING`" in (GUIDE / "add-a-metric.md").read_text()


# --- what a change touches -----------------------------------------------------------------------

SOURCE = Path(serendip.__file__).parent
ROOT = Path(__file__).parents[1]
TOUCHED = {
    change: (re.findall(r"`([^`]+\.py)`", files), int(limit))
    for change, files, limit in re.findall(
        r"^\| ([^|]+) \| ([^|]+) \| (\d+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
    )
}
"""Change -> files that the page names, and how many of them it edits at most."""


def _files_with(name: str, *patterns: str) -> set[str]:
    """Files of the package whose code gives a request the field ``name``, or reads it there."""
    found = set()
    for path in (path for pattern in patterns for path in SOURCE.glob(pattern)):
        for node in ast.walk(ast.parse(path.read_text())):
            is_given = isinstance(node, ast.keyword) and node.arg == name
            is_read = isinstance(node, ast.Attribute) and ast.unparse(node) == f"request.{name}"
            is_field = isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name
            if is_given or is_read or is_field:
                found.add(path.relative_to(SOURCE).as_posix())
    return found


def test_the_page_names_files_that_exist_within_its_limits() -> None:
    assert len(TOUCHED) == 5
    for change, (files, limit) in TOUCHED.items():
        assert all((SOURCE / file).is_file() for file in files), change
        assert len(files) <= limit or change == "a request parameter"  # either of two readers


@pytest.mark.parametrize("parameter", ["literal", "after"])
def test_a_request_parameter_is_in_three_files(parameter: str) -> None:
    assert parameter in {field.name for field in fields(Request)}
    found = _files_with(
        parameter, "engine/*.py", "engine/explanations/*.py", "serve/*.py", "serve/api/*.py"
    )
    named, limit = TOUCHED["a request parameter"]
    assert found <= set(named)
    assert len(found) == limit


NEXT = int(migrations.HEAD) + 1
NEW_COLUMN = f"""
from contextlib import closing
from dataclasses import replace

from serendip.data.store import migrations
from serendip.data.store.database import open_database
from serendip.data.store.item_rows import tabulate_items
from serendip.data.store.store import Store
from serendip.files.config import EventsConfig
from serendip.files.events import read_events
from serendip.jobs.init.columns import FileForm, GuessedFile, guess_form
from serendip.serve.api.requests import EventIn


def test_a_column_is_read_posted_stored_packed_and_upgraded(tmp_path):
    with closing(open_database(tmp_path / "s.db", create=True)) as database:
        with database.write() as connection:
            migrations.migrate(connection, "s.db")
            connection.exec_driver_sql("ALTER TABLE events DROP COLUMN zeal")
            change = "UPDATE serendip_version SET version_num = '{migrations.HEAD}'"
            connection.exec_driver_sql(change)
    path = tmp_path / "e.csv"
    path.write_text('user,item,ts,Zeal\\nu,i,1,"2,5"\\n')
    file = GuessedFile(path, "e.csv", "events", FileForm(), mapping={{"zeal": "Zeal"}})
    guess_form(file, 9.0)
    events = read_events(EventsConfig(path="e.csv", decimal=file.form.decimal), tmp_path)
    posted = EventIn(user_id="u", item_id="i", timestamp=3.0, zeal=0.5).to_event(9.0)
    with closing(Store.create(tmp_path / "s.db")) as store:
        store.import_tables(lambda: tabulate_items([]), events.table)
        store.put_events([posted, replace(posted, timestamp=4.0, zeal=None)])
        for _ in range(2):
            values = [event.zeal for event in store.log.history("u", 9)]
            assert values == [2.5, 0.5, None]
            store.pack()
"""
REVISION = f"""
import sqlalchemy
from alembic import op

revision = "{NEXT}"
down_revision = "{migrations.HEAD}"


def upgrade() -> None:
    op.add_column("events", sqlalchemy.Column("zeal", sqlalchemy.Double))
"""


def test_a_column_of_events_is_a_field_and_a_revision_in_a_copy_of_the_package(
    tmp_path: Path,
) -> None:
    shutil.copytree(SOURCE, tmp_path / "serendip", ignore=shutil.ignore_patterns("__pycache__"))
    event = tmp_path / "serendip" / "data" / "events" / "event.py"
    code = event.read_text()
    for place, added in (
        ('\n    """\n\n    user_id:', "\n        zeal: with which it was done."),
        ("\n\n\nEVENT_COLUMNS", "\n    zeal: OptionalNumber = None"),
    ):
        assert code.count(place) == 1
        code = code.replace(place, added + place)
    event.write_text(code)
    versions = tmp_path / "serendip" / "data" / "store" / "migrations" / "versions"
    (versions / f"r{NEXT}_zeal.py").write_text(REVISION)
    (tmp_path / "test_zeal.py").write_text(NEW_COLUMN)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_zeal.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "\n1 passed in " in run.stdout, run.stdout + run.stderr


@pytest.mark.parametrize("endpoint", ["search", "recommend", "similar", "suggest", "explain"])
def test_an_endpoint_is_in_three_files_of_the_api(endpoint: str) -> None:
    query = f"{endpoint.capitalize()}Params"
    # Tools of an assistant take the same parameters; an endpoint need not be one.
    api = sorted(path for path in (SOURCE / "serve").rglob("*.py") if path.name != "mcp_server.py")
    found = {path.relative_to(SOURCE).as_posix() for path in api if query in path.read_text()}
    named, limit = TOUCHED["an endpoint"]
    assert found
    assert found <= set(named)
    assert len(named) == limit


def test_a_home_request_runs_through_at_most_seventeen_files_of_stages(engine: Engine) -> None:
    stages = SOURCE / "engine" / "stages"
    called: set[Path] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        called.add(Path(frame.f_code.co_filename))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        answer = engine.recommend(Request("home", "u0"))
    finally:
        sys.setprofile(before)
    assert answer.items
    found = {path.name for path in called if path.parent == stages}
    assert "pipeline.py" in found
    assert len(found) <= 17
