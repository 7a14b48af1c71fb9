"""A model of your own beside the engine's: train, save, open, recommend.

Usage: python examples/03_your_own_model.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from serendip.data import Catalogue, Dataset, EventLog, History, Item, Query, Vocabulary
from serendip.models.item_to_item import Transitions, TransitionsConfig

TRIPS = [["tent", "stove", "gas"], ["tent", "stove", "lamp"], ["boots", "socks"], ["tent", "stove"]]


def dataset() -> Dataset:
    """Four people and six items."""
    names = sorted({name for trip in TRIPS for name in trip})
    catalogue = Catalogue(Item(name, name.title()) for name in names)
    users = np.repeat(np.arange(len(TRIPS), dtype=np.int32), [len(trip) for trip in TRIPS])
    items = catalogue.vocabulary.numbers(name for trip in TRIPS for name in trip)
    count = len(items)
    log = EventLog(
        users,
        items,
        np.arange(count, dtype=np.float64),
        np.ones(count, np.bool_),
        np.full(count, np.nan, np.float32),
    )
    return Dataset(catalogue, Vocabulary(f"p{number}" for number in range(len(TRIPS))), log)


def main() -> None:
    """Who takes a tent takes a stove next."""
    data = dataset()
    numbers = data.catalogue.vocabulary
    model = Transitions(TransitionsConfig(mode="plain")).train(data)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        model = Transitions.open(Path(folder))
    query = Query(history=History.of_items(numbers.numbers(["tent"])))
    best = model.recommend([query], k=3)[0]
    for item_id, score in zip(numbers.ids_of(best.item_nums), best.scores, strict=True):
        print(f"{item_id:<8} {score:.3f}")


if __name__ == "__main__":
    main()
