"""A stand is a small shop with too few events for a ranker, which would train all models twice."""

import shutil
from collections.abc import Callable
from pathlib import Path

from serendip.data.items.catalogue import Item
from serendip.engine.artefacts.generations import open_current, publish
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.train.fingerprint import compute_fingerprint
from serendip.jobs.train.gates import BASELINE, METRIC
from serendip.jobs.train.train import train_workspace
from serendip.runtime.atomic_files import write_json
from serendip.runtime.progress import TrainOptions
from serendip.runtime.versions import MANIFEST, Version

NUM_USERS = 12
NEW = Item("new", "The horror tale number 1", "", {"genre": "horror"})


def train(shop: Path, seed: int = 0) -> Version:
    return train_workspace(JobContext.open(shop, TrainOptions(seed=seed)))


def publish_with(
    shop: Path, change: Callable[[Path], None] = lambda folder: None, **facts: object
) -> Version:
    """Publish the generation in force once more, with other files, or facts in its manifest."""
    generations = Workspace.open(shop).generations
    current = open_current(generations)
    own = ("format", "name", "code_version", "previous", "files", "checksum")
    kept = {key: value for key, value in current.manifest.items() if key not in own}

    def copy(building: Path) -> None:
        shutil.copytree(current.folder, building, dirs_exist_ok=True)
        (building / MANIFEST).unlink()
        change(building)

    return publish(generations, copy, {**kept, **facts})


def write_worse_report(shop: Path, seed: int = 0) -> None:
    """A report whose gate every training of these settings and files fails."""
    row = {"metric": METRIC, "baseline": BASELINE, "difference": -0.1, "verdict": "worse"}
    fingerprint = compute_fingerprint(Workspace.open(shop), seed)
    report = {"fingerprint": fingerprint, "surfaces": {"home": {"comparisons": [row]}}}
    write_json(shop / "reports" / "report.json", report)
