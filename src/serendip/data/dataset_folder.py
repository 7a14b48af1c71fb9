"""A dataset in files that are memory-mapped: how another process of the same machine gets it.

Only what a snapshot has is written: features, query examples and whatever else is computed from it
are not.
"""

from __future__ import annotations

from pathlib import Path

from serendip.data.artefact import open_value, save_value
from serendip.data.dataset import Dataset
from serendip.data.items.catalogue import open_catalogue, save_catalogue

_OF_SNAPSHOT = (
    *("users", "events", "cut", "requests", "countries", "negatives", "impressions"),
    *("action_names", "device_names", "user_groups"),
)


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write a dataset into a folder, which is created."""
    save_value({name: getattr(dataset, name) for name in _OF_SNAPSHOT}, folder)
    save_catalogue(dataset.catalogue, folder)


def open_dataset(folder: Path) -> Dataset:
    """Map what ``save_dataset`` wrote."""
    return Dataset(open_catalogue(folder), **open_value(folder))
