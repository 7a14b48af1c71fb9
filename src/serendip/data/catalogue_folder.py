"""A catalogue in files that are memory-mapped: how tasks of an executor get it."""

from __future__ import annotations

from pathlib import Path

from serendip.data.item import Catalogue
from serendip.data.strings import open_arrays, save_arrays
from serendip.data.vocabulary import Vocabulary

_CATALOGUE, _ITEMS = "catalogue.arrow", "items"


def save_catalogue(catalogue: Catalogue, folder: Path) -> None:
    """Write a catalogue into a folder, which exists."""
    catalogue.save(folder / _CATALOGUE)
    save_arrays(folder / _ITEMS, catalogue.vocabulary.arrays())


def open_catalogue(folder: Path) -> Catalogue:
    """Map what ``save_catalogue`` wrote.

    Raises:
        ArtefactError: a file is damaged.
    """
    return Catalogue.open(folder / _CATALOGUE, Vocabulary.of_arrays(open_arrays(folder / _ITEMS)))
