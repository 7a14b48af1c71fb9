import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import stand as stand_world
from bench_products import write_products
from small_shop import write_files
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data import Event
from serendip.engine.engine import Engine
from serendip.engine.workspace import Workspace
from serendip.jobs.import_files import import_files
from serendip.runtime.progress import TrainOptions
from serendip_bench.rewrites import run_rewrites


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A stand where four people found nothing for one text and something for another."""
    folder = tmp_path_factory.mktemp("rewritten") / "stand"
    write_files(folder, num_users=stand_world.NUM_USERS)
    workspace = Workspace.open(folder)
    import_files(workspace)
    events = []
    for number in range(4):
        events.append(Event(f"u{number}", "", 1e9 + number, "click", query="spooky yarn"))
        chosen = Event(f"u{number}", "i3", 1e9 + 60 + number, "click", query="horror tale")
        events.append(chosen)
    with closing(workspace.open_store()) as store:
        store.put_events(events)
    stand_world.train(folder)
    with closing(Engine.open(folder)) as engine:
        yield engine


def test_training_publishes_rewrites_and_answers_offer_them(asked: Engine) -> None:
    assert asked._manifest["queries"]["rewrites"] == len(asked.state.searcher.rewrites.head)
    found = asked.search("spooky yarn").understood
    assert found is not None and found.searched == "spooky yarn" and not found.is_corrected
    assert [(one.text, one.kind) for one in found.rewrites] == [("horror tale", "substitute")]
    many = asked.search("horror").understood
    assert many is not None and not many.rewrites


def test_figures_come_again_and_count_every_query(tmp_path: Path) -> None:
    folder, file = write_products(tmp_path / "products"), tmp_path / "rewrites.json"
    done = CliRunner().invoke(
        app, ["bench", "rewrites", "--data", str(folder), "--json", str(file)]
    )
    assert done.exception is None, done.exception
    document: dict[str, Any] = json.loads(file.read_text())
    assert document["rows"] == run_rewrites(folder, file, TrainOptions(0))["rows"]
    rows = {row["queries"]: row for row in document["rows"]}
    assert sum(row["of all"] for row in document["rows"]) == 2 * rows["both"]["of all"]
    assert rows["both"]["of all"] + document["others"] == document["queries"] == 2
