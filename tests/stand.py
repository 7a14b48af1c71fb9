"""A stand is a small shop with too few events for a ranker, which would train all models twice."""

from __future__ import annotations

from pathlib import Path

from serendip.data.item import Item
from serendip.jobs.context import JobContext
from serendip.jobs.train.train import train_workspace
from serendip.runtime.progress import TrainOptions
from serendip.runtime.versions import Version

NUM_USERS = 12
NEW = Item("new", "The horror tale number 1", "", {"genre": "horror"})


def train(shop: Path, seed: int = 0) -> Version:
    """Train and publish."""
    return train_workspace(JobContext.open(shop, TrainOptions(seed=seed)))
