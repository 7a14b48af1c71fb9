"""The whole chain of an LLM on a small shop: right labels are served, coin flips change nothing."""

import csv
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_server import Body, answer_often_right, configure, serving
from illustrated_shop import MEDIA
from pictures import Image

from serendip.data.text import tokens
from serendip.engine.artefacts.generations import current_name
from serendip.engine.engine import Engine
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.llm.improve import Improvement, StepResult
from serendip.jobs.train.train import train_workspace

KINDS = "lamp chair kettle clock rug shelf mirror basket pillow candle vase stool".split()
USES = "reading garden winter travel office kitchen guests children evening bath".split()
WOODS = ("oak", "pine", "beech")
NUM_ITEMS = 240
SETTINGS = """
[items]
path = "items.csv"

[events]
path = "events.csv"

[content]
name = "hashing"
fields = ["title", "description", "kind"]

[models.retriever]
embedding_size = 16
search_size = 8
epochs = 2
max_len = 10
"""
PICTURES = MEDIA.partition("[content.audio]")[0]


def write_shop(folder: Path, pictures: bool) -> None:
    """Things of twelve kinds, each for two uses; a third of them lack their wood.

    The kind of an item is its number modulo twelve.
    """
    folder.mkdir()
    random = np.random.default_rng(0)
    rows, events = [], []
    for number in range(NUM_ITEMS):
        kind, wood = KINDS[number % 12], WOODS[int(random.integers(3))]
        uses = " and ".join(random.choice(USES, 2, replace=False))
        beside = KINDS[(number + 1 + number // 12) % 12]
        text = f"A {kind} of {wood} for {uses}, beside a {beside}."
        row = [f"i{number}", f"{kind} {uses} {number}", text, kind]
        rows.append([*row, "" if number % 3 == 0 else wood, f"media/{number % 12}.png"])
    for user in range(12):
        for step in range(8):
            item = int(random.integers(NUM_ITEMS // 12)) * 12 + user
            events.append([f"u{user}", f"i{item}", 1_600_000_000 + 3_600 * step, "rate", 5])
    for name, head, lines in (
        ("items.csv", ("item_id", "title", "description", "kind", "wood", "cover"), rows),
        ("events.csv", ("user_id", "item_id", "timestamp", "action", "value"), events),
    ):
        with (folder / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([head, *lines])
    (folder / "media").mkdir()
    for number in range(12):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "media" / f"{number}.png")
    (folder / "serendip.toml").write_text(SETTINGS + PICTURES * pictures)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """The trained shop without or with pictures, each trained once."""

    @cache
    def train(pictures: bool) -> Path:
        folder = tmp_path_factory.mktemp("shops") / "shop"
        write_shop(folder, pictures)
        import_files(Workspace.open(folder))
        train_workspace(JobContext.open(folder))
        return folder

    return train


@pytest.fixture(params=[False, True], ids=["texts", "pictures"])
def shop(request: pytest.FixtureRequest, shops: Callable[[bool], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(shops(request.param), tmp_path / "shop"))


def _tell(data: Body, prompt: str, is_right: bool) -> dict[str, Any]:
    item = data["item"]
    words = tokens(item["title"])
    if "values" in data:
        own = next(wood for wood in WOODS if wood in tokens(item["description"]))
        others = [wood for wood in data["values"] if wood != own]
        return {"value": own if is_right else others[0]}
    if "query" in data:
        kinds = set(tokens(data["query"])) & set(KINDS)
        is_good = kinds <= {words[0]}
        return {"label": "good" if is_good == is_right else "bad", "confidence": 0.9}
    if '"keywords"' in prompt:
        keywords = [f"{words[0]} furnishing"] if is_right else ["something else"]
        return {"description": "", "keywords": keywords, "attributes": []}
    other = KINDS[(KINDS.index(words[0]) + (not is_right)) % len(KINDS)]
    queries = [f"{other} for {use}" for use in words[1:] if use in USES]
    return {"queries": [*queries, f"wooden {other}"]}


def run(folder: Path, right: float) -> tuple[Improvement, list[StepResult], int]:
    """The run, its steps, and the number of requests."""
    with serving(answer_often_right(_tell, right)) as server:
        configure(folder, server.address)
        improvement = Improvement(JobContext.open(folder), 1.0, items=60)
        plan = [step.name for step in improvement.plan()]
        steps, asked = list(improvement.run()), len(server.bodies)
    assert plan == ["control questions", "queries", "filter", "attribute wood", "texts"]
    return improvement, steps, asked


def count_wrong(folder: Path) -> int:
    """Results of other kinds on the first pages of searches for one kind and use."""
    with Engine.open(folder) as engine:
        return sum(
            KINDS[int(item.item_id[1:]) % 12] != kind
            for kind in KINDS
            for use in USES[:3]
            for item in engine.search(f"{kind} for {use}", k=20).items
        )


def test_right_labels_are_accepted_and_served(shop: Path) -> None:
    wrong = count_wrong(shop)
    improvement, results, _ = run(shop, 0.92)
    steps = {step.name: step for step in results}
    assert steps["texts"].gate.verdict != "refused"  # There are labels to test them by.
    assert {name: step.gate.on for name, step in steps.items() if name != "texts"} == {
        "control questions": True,
        "queries": True,
        "filter": True,
        "attribute wood": False,  # 92 % right is no 90 % at the lower end of 40 compared
        "training": True,
    }, results
    assert 0 < improvement.spent <= 1.0
    assert improvement.spent == pytest.approx(sum(step.cost for step in results))
    assert improvement.generation == current_name(Workspace.open(shop).generations) == "gen-2"
    assert "filtered surfaces: search" in steps["training"].changes
    assert steps["filter"].gate.low is not None and steps["filter"].gate.low > 0.05
    assert wrong > 0
    assert count_wrong(shop) < wrong / 4
    with Engine.open(shop) as engine:
        assert "llm" in engine.state.queries.sources


@pytest.mark.parametrize("shop", [False], indirect=True)
def test_an_llm_that_flips_coins_changes_nothing(shop: Path) -> None:
    wrong = count_wrong(shop)
    improvement, (controls, *more), asked = run(shop, 0.5)
    assert not more
    assert not controls.gate.on
    assert "asked nothing else" in controls.gate.describe()
    assert (improvement.generation, asked) == ("", 120)
    assert current_name(Workspace.open(shop).generations) == "gen-1"
    assert count_wrong(shop) == wrong
