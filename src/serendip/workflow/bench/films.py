"""Films and their ratings: ``items.jsonl`` and ``ratings.csv`` of a MovieLens folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serendip.data.dataset import Dataset, EventLog
from serendip.data.event import ActionRules, EventColumns
from serendip.data.feedback import Feedback
from serendip.data.files.readers import EventsConfig, ItemsConfig, read_events, read_items
from serendip.data.item import Catalogue
from serendip.data.vocabulary import Vocabulary

FILMS_FILE, RATINGS_FILE = "items.jsonl", "ratings.csv"


def read_rated_films(folder: Path, attributes: tuple[str, ...] = ("genres",)) -> Dataset:
    """Films in the order of their file and all their ratings in order of time.

    Every rating is an event; from 4 of 5 on it is a like. What users wrote about films (``tags``)
    is read only if it is named here.

    Args:
        folder: with both files.
        attributes: columns of ``items.jsonl`` to keep beside title, year and overview.

    Raises:
        DataError: a file is missing or broken.
    """
    config = ItemsConfig(path=FILMS_FILE, title_style="library", attributes=attributes)
    catalogue = Catalogue(read_items(config, folder))
    log = EventColumns.of_events(read_events(EventsConfig(path=RATINGS_FILE), folder))
    users = Vocabulary(dict.fromkeys(log.user_ids))
    events = EventLog(
        users.numbers(log.user_ids),
        catalogue.vocabulary.numbers(log.item_ids),
        log.timestamps,
        Feedback.of(log, ActionRules()).liked,
        log.values.astype(np.float32),
    )
    return Dataset(catalogue, users, events.rows(events.items >= 0))
