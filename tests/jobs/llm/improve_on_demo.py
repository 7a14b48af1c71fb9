"""``llm improve`` on the demo of ``make demo``: right labels are served, coin flips change nothing.

It trains the demo three times, so it is no part of ``make test``: `.ci/run` names it.
"""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_server import Body, answer_often_right, configure, serving
from pictures import Image

from serendip.data.text import tokens
from serendip.engine.artefacts.generations import current_name
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.llm.improve import Improvement, ImprovementReport, improve
from serendip.jobs.train.train import train_workspace

DEMO = Path(__file__).resolve().parents[3] / "demo"
PICTURES = """
[content.image]
field = "cover"
"""
GENRES = "action adventure animation children comedy crime documentary drama fantasy horror".split()
GENRES += "musical mystery romance thriller war western".split()

pytestmark = pytest.mark.skipif(
    not (DEMO / "generations").is_dir(), reason="needs the trained demo of `make demo`"
)


def add_pictures(folder: Path) -> None:
    """Give each film the picture of its first genre, and train the demo with them."""
    random = np.random.default_rng(0)
    with (folder / "films.csv").open(newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    (folder / "media").mkdir()
    for name in sorted({_name_picture(row) for row in rows}):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    with (folder / "films.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*head, "cover"])
        writer.writerows([*row, _name_picture(row)] for row in rows)
    with (folder / "serendip.toml").open("a", encoding="utf-8") as stream:
        stream.write(PICTURES)
    shutil.rmtree(folder / "generations")  # trained without pictures: another thing to compare
    import_files(Workspace.open(folder))
    train_workspace(JobContext.open(folder))


def _name_picture(row: list[str]) -> str:
    genres = tokens(row[-1]) or ["none"]
    return f"media/{genres[0]}.png"


@pytest.fixture(params=[False, True], ids=["texts", "pictures"])
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(DEMO, tmp_path / "demo"))
    if request.param:
        add_pictures(folder)
    return folder


def _tell(data: Body, prompt: str, is_right: bool) -> dict[str, Any]:
    """What an LLM that knows title, year and genres answers, or the opposite."""
    item = data["item"]
    genres = [name for name in GENRES if name in tokens(json.dumps(item))]
    if "query" in data:
        is_good = _is_about(data["query"], item)
        return {"label": "good" if is_good == is_right else "bad", "confidence": 0.9}
    if '"queries"' in prompt:
        named = genres if is_right else [name for name in GENRES if name not in genres]
        title = " ".join(tokens(item["title"]))
        return {"queries": [" ".join(["best", *named[:2], *_years(item)]), title]}
    return {"description": "", "keywords": genres if is_right else ["else"], "attributes": []}


def _years(item: Body) -> list[str]:
    return re.findall(r"(?:19|20)\d\d", json.dumps(item))[:1]


def _is_about(query: str, item: Body) -> bool:
    """Whether a film has all that a query names."""
    words = {*tokens(json.dumps(item)), "best", "film", "films", "movie", "movies", "like"}
    words |= {f"{year[:3]}0s" for year in _years(item)} | {f"{year[2]}0s" for year in _years(item)}
    return all(word in words or word.rstrip("s") in words for word in tokens(query))


def run(folder: Path, right: float) -> ImprovementReport:
    with serving(answer_often_right(_tell, right)) as server:
        configure(folder, server.address)
        return improve(JobContext.open(folder), Improvement(2.0, lambda plan: True))


def test_coin_flips_change_nothing_and_right_labels_are_served(demo: Path, tmp_path: Path) -> None:
    flipped = run(Path(shutil.copytree(demo, tmp_path / "flipped")), 0.5)
    assert [step.gate.on for step in flipped.steps] == [False], flipped
    assert flipped.generation == ""

    earlier = current_name(Workspace.open(demo).generations)
    report = run(demo, 0.92)
    steps = {step.name: step for step in report.steps}
    assert {name: step.gate.on for name, step in steps.items() if name != "texts"} == {
        "control questions": True,
        "queries": True,
        "filter": True,
        "training": True,
    }, report
    in_force = current_name(Workspace.open(demo).generations)
    assert in_force == report.generation != earlier
    assert "filtered surfaces: search" in steps["training"].changes, report
