"""The small world with pictures and sounds: two thirds of the items have one of six pictures."""

import csv
from pathlib import Path

import numpy as np
from pictures import Image
from small_shop import SETTINGS, write_files
from sounds import tone

from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.train.train import train_workspace

MEDIA = """
[content.image]
field = "cover"

[content.audio]
encoder = "torch:tiny_networks:mel_mean"
field = "sample"
"""


def illustrate(folder: Path) -> None:
    """Give two thirds of the items one of six pictures and half of them one of two sounds."""
    (folder / "media").mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / "media" / f"{number}.png")
    for number in range(2):
        tone(folder / "media" / f"{number}.wav", 300 + 900 * number, 0.2)
    with (folder / "items.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    with (folder / "items.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*rows[0], "cover", "sample"])
        for number, row in enumerate(rows[1:]):
            cover = "" if number % 3 == 2 else f"media/{number % 6}.png"
            writer.writerow([*row, cover, "" if number % 2 else f"media/{number % 4 // 2}.wav"])


def train_illustrated(folder: Path) -> Path:
    """A trained workspace of the illustrated world."""
    write_files(folder, num_users=12)  # Too few events for a ranker, which nothing here needs.
    illustrate(folder)
    (folder / "serendip.toml").write_text(SETTINGS + MEDIA, encoding="utf-8")
    workspace = Workspace.open(folder)
    import_files(workspace)
    train_workspace(JobContext(workspace))
    return folder
