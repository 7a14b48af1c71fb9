"""Kinds of bad generations: each is refused, and the one before it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stand import publish_with, write_worse_report

from serendip.data import FloatArray, Vocabulary
from serendip.data.rows.strings import save_arrays
from serendip.engine.artefacts.generations import open_current, open_earlier
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, GateError
from serendip.jobs.context import JobContext
from serendip.jobs.train.gates import require_passed
from serendip.jobs.train.parts.plan import Draft
from serendip.jobs.train.train import run_gates
from serendip.runtime.budget import TimeBudget
from serendip.runtime.versions import MANIFEST, compute_checksums, seal


def replace_file(path: Path, content: bytes) -> None:
    path.unlink()  # it may be a hard link
    path.write_bytes(content)


def change_manifest(generation: Path, **facts: object) -> None:
    """Give a generation other facts and right checksums."""
    manifest = json.loads((generation / MANIFEST).read_text())
    manifest |= {"files": compute_checksums(generation), **facts}
    replace_file(generation / MANIFEST, seal(manifest).encode())


def change_array(generation: Path, name: str, change: Callable[[FloatArray], FloatArray]) -> None:
    """Change an array and give the generation the right checksums."""
    path = generation / name
    array = change(np.load(path))
    path.unlink()
    np.save(path, array)
    change_manifest(generation)


def drop_last_row(array: FloatArray) -> FloatArray:
    return array[:-1]


def drop_first_column(array: FloatArray) -> FloatArray:
    return array[:, 1:]


def put_nan(array: FloatArray) -> FloatArray:
    array[0] = np.nan
    return array


def flip_byte(generation: Path) -> None:
    content = bytearray((generation / "counts.npy").read_bytes())
    content[-1] ^= 1
    replace_file(generation / "counts.npy", bytes(content))


def cut_file(generation: Path) -> None:
    replace_file(generation / "counts.npy", (generation / "counts.npy").read_bytes()[:-1])


def alter_manifest(generation: Path) -> None:
    text = (generation / MANIFEST).read_text()
    replace_file(generation / MANIFEST, text.replace('"seed": 0', '"seed": 1').encode())


def write_no_array(generation: Path) -> None:
    replace_file(generation / "counts.npy", b"no array")
    change_manifest(generation)


OPENED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped byte": (flip_byte, "counts.npy is altered"),
    "a file that was cut off": (cut_file, "counts.npy is altered"),
    "a missing file": (lambda folder: (folder / "quality.npy").unlink(), "quality.npy is missing"),
    "an unknown file": (lambda folder: (folder / "x").touch(), "x is unknown"),
    "an altered manifest": (alter_manifest, "so it was altered"),
    "another format": (lambda folder: change_manifest(folder, format=2), "has format 2"),
    "no array": (write_no_array, "counts.npy has no readable array"),
    "a value that is no number": (
        lambda folder: change_array(folder, "quality.npy", put_nan),
        "quality.npy has NaN",
    ),
    "fewer rows than items": (
        lambda folder: change_array(folder, "counts.npy", drop_last_row),
        "59 rows of counts for 60",
    ),
    "fewer vectors than items": (
        lambda folder: change_array(folder, "content/content.values.npy", drop_last_row),
        "59 rows of content for 60",
    ),
    "vectors of another size": (
        lambda folder: change_array(
            folder, "content/content.values.npy", lambda array: array[:, 1:]
        ),
        "values of a vector for",
    ),
    "codes of another length": (
        lambda folder: change_array(folder, "codes.npy", drop_first_column),
        "levels of codes for",
    ),
    "a model of other items": (
        lambda folder: take_away_an_item(folder, "models/item-knn/config.json"),
        "59 items of the model item-knn for 60",
    ),
}


def take_away_an_item(generation: Path, config: str) -> None:
    document = json.loads((generation / config).read_text())
    document["num_items"] -= 1
    replace_file(generation / config, json.dumps(document).encode())
    change_manifest(generation)


@pytest.mark.parametrize("kind", OPENED)
def test_a_bad_generation_is_refused_when_it_is_opened(shop: Path, kind: str) -> None:
    harm, told = OPENED[kind]
    harm(publish_with(shop).folder)
    with pytest.raises(ArtefactError, match=told):
        Engine.open(shop)
    workspace = Workspace.open(shop)
    earlier = open_earlier(workspace.generations)
    with closing(Engine.of_version(workspace, earlier)) as engine:
        assert engine.generation == "gen-1"
        assert engine.recommend(Request("home")).items


def draft_of(shop: Path) -> Draft:
    """The generation in force once more, before it is published."""
    current = open_current(shop / "generations")
    return Draft(EngineState.open(current.folder), current.manifest)


def lose_items(shop: Path) -> Draft:
    """The generation in force has 120 items, this one the first 60 of them."""
    draft, folder = draft_of(shop), publish_with(shop).folder
    for path in (folder / "ids").iterdir():
        path.unlink()
    ids = [*draft.state.catalogue.vocabulary, *(f"gone{number}" for number in range(60))]
    save_arrays(folder / "ids", Vocabulary(ids).arrays())
    change_manifest(folder)
    return draft


def lose_words(shop: Path) -> Draft:
    """Search goes on by meaning alone."""
    draft = draft_of(shop)
    searcher = draft.state.searcher.without_items(range(draft.state.num_items))
    return replace(draft, state=replace(draft.state, searcher=searcher))


def lose_retriever(shop: Path) -> Draft:
    draft = draft_of(shop)
    models = {name: model for name, model in draft.state.models.items() if name != "retriever"}
    return replace(draft, state=replace(draft.state, models=models, ranker=None))


def lose_quality(shop: Path) -> Draft:
    draft = draft_of(shop)
    quality = np.full(draft.state.num_items, np.inf, np.float32)
    return replace(draft, state=replace(draft.state, quality=quality))


def lose_to_popularity(shop: Path) -> Draft:
    write_worse_report(shop)
    return draft_of(shop)


DRAFTED: dict[str, tuple[Callable[[Path], Draft], str]] = {
    "half of the items": (
        lose_items,
        r"has the items of gen-2 \(60 of its 120 items are still there, at least 90 % must be: "
        r".*serendip import.*--force.*\[gate\] least_kept_items",
    ),
    "an empty word index": (
        lose_words,
        r"search finds titles \(0 of 5 titles of popular items find something\)",
    ),
    "a missing model": (lose_retriever, r"items for home; failed: retriever"),
    "a stage that fails": (lose_retriever, r"shows similar items \(.*; failed: .*retriever"),
    "a value that is infinite": (lose_quality, "finite numbers"),
    "worse than popularity": (lose_to_popularity, "not worse than popularity"),
}


@pytest.mark.parametrize("kind", DRAFTED)
def test_a_bad_generation_is_refused_before_it_is_published(shop: Path, kind: str) -> None:
    spoil, told = DRAFTED[kind]
    require_passed(run_gates(JobContext.open(shop), draft_of(shop)).decisions)
    draft = spoil(shop)
    with pytest.raises(GateError, match=told):
        require_passed(run_gates(JobContext.open(shop), draft).decisions)


def test_a_generation_whose_time_was_not_enough_is_refused(shop: Path) -> None:
    budget = TimeBudget(90)
    budget.allow("retriever (all)", 0.5).cut(0.01, False, 5)
    context = JobContext(Workspace.open(shop), budget=budget)
    with pytest.raises(GateError, match="every model has learned"):
        require_passed(run_gates(context, draft_of(shop)).decisions)
