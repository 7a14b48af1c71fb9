"""A small seeded world as two files: three tastes, items of one taste follow one another."""

import atexit
import csv
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from serendip.data.items.catalogue import Attribute
from serendip.engine.engine import Engine
from serendip.engine.workspace import Workspace
from serendip.jobs.import_files import import_files

TASTES = ("horror", "comedy", "western")
NUM_ITEMS = 60
NUM_USERS = 45
SETTINGS = """
[items]
path = "items.csv"

[events]
path = "events.csv"

[content]
name = "hashing"
fields = ["title", "genre"]

[models.retriever]
embedding_size = 16
search_size = 8
epochs = 2
max_len = 10

[ranker]
epochs = 2
"""

WITHOUT_SEARCHES = "\n[ranker.searches]\nwritten = 0\n"
"""More settings, of tests that ask nothing about searches: queries that were written for items, a
thousand whatever the size of the shop, are most of what a ranker learns here."""


def write_files(folder: Path, seed: int = 0, num_users: int = NUM_USERS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with (folder / "items.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["item_id", "title", "genre"])
        for number in range(NUM_ITEMS):
            taste = TASTES[number % 3]
            writer.writerow([f"i{number}", f"The {taste} tale number {number}", taste])
    with (folder / "events.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp", "action", "value"])
        rows = []
        for user in range(num_users):
            start = 1_600_000_000 + int(rng.integers(0, 10_000_000))
            place = int(rng.integers(0, NUM_ITEMS // 3))
            for step in range(int(rng.integers(8, 16))):
                item = 3 * ((place + step) % (NUM_ITEMS // 3)) + user % 3
                stars = float(rng.integers(2, 6))
                rows.append([f"u{user}", f"i{item}", start + 3600 * step, "rate", stars])
        writer.writerows(sorted(rows, key=lambda row: row[2]))
    (folder / "serendip.toml").write_text(SETTINGS)


def add_settings(folder: Path, lines: str) -> None:
    with (folder / "serendip.toml").open("a") as stream:
        stream.write(lines)


def give(engine: Engine, **attributes: dict[str, Attribute]) -> None:
    """Post items again with further attributes."""
    old = {item_id: engine.item(item_id) for item_id in attributes}
    engine.add_items(
        replace(item, attributes={**item.attributes, **attributes[item_id]})
        for item_id, item in old.items()
    )


def import_shop(folder: Path, num_users: int = NUM_USERS, more: str = "") -> Path:
    """A workspace of the small world whose files are imported; nothing is built or trained.

    A copy of one that is imported once for each number of users; ``more`` are further settings.
    """
    copied = Path(shutil.copytree(_import_once(num_users), folder, dirs_exist_ok=True))
    if more:
        (folder / "serendip.toml").write_text(SETTINGS + more)
    return copied


@cache
def _import_once(num_users: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="imported-"))
    atexit.register(shutil.rmtree, folder)
    write_files(folder, num_users=num_users)
    import_files(Workspace.open(folder))
    return folder
