"""Tags of films as searches: the tag is the query, its film the chosen result.

Targets of each user are the first use of the newest tag that the user had not used before
(``new``), first uses of the ten newest tags (``recent``), or the last tagging (``next``). The tag
before the newest is for tuning (``validation``), and is in none of the other sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from serendip.data.dataset import Dataset, EventLog
from serendip.data.events.search_log import Search
from serendip.data.text import normalise
from serendip.data.vocabulary import Vocabulary
from serendip.errors import DataError
from serendip.files.config import EventsConfig
from serendip.files.events import read_events

USER_TAGS_FILE = "tags.csv"
_COLUMNS = {"user_id": "userId", "item_id": "movieId", "query": "tag", "timestamp": "timestamp"}
SETS = ("new", "recent", "next", "validation")
NUM_RECENT = 10


@dataclass(frozen=True, slots=True)
class Target:
    """The next search of a user.

    Args:
        user_id: of the user.
        timestamp: of the search; systems read earlier data only.
        key: normal form of the tag.
        is_new: True if the target is known to be a tag that the user had not used before.
    """

    user_id: str
    timestamp: float
    key: str
    is_new: bool


def read_tags(folder: Path, films: Vocabulary) -> list[Search]:
    """Read the taggings of films of the catalogue, by time, then in file order.

    Raises:
        DataError: the file is missing or invalid, or has no tag.
    """
    config = EventsConfig(path=USER_TAGS_FILE, columns=_COLUMNS)
    searches = []
    for event in read_events(config, folder):
        film, key = films.number(event.item_id), normalise(event.query)
        if film >= 0 and key:
            chosen = np.array([film], np.int32)
            searches.append(Search(event.user_id, event.timestamp, event.query, key, chosen))
    if not searches:
        raise DataError(f"{folder / USER_TAGS_FILE} has no tags of films of the catalogue.")
    return sorted(searches, key=lambda search: search.timestamp)


def with_choices(dataset: Dataset, searches: Sequence[Search]) -> Dataset:
    """A copy with an event for every chosen search result, by time.

    Searches of users outside the dataset are ignored.
    """
    rows = [
        (dataset.users.number(search.user_id), int(item), search.timestamp)
        for search in searches
        for item in search.chosen
        if dataset.users.number(search.user_id) >= 0
    ]
    events, count = dataset.events, len(rows)
    users, items, times = zip(*rows, strict=True) if rows else ((), (), ())
    timestamps = np.concatenate([events.timestamps, np.array(times, np.float64)])
    order = np.argsort(timestamps, kind="stable")
    joined = EventLog(
        np.concatenate([events.users, np.array(users, np.int32)])[order],
        np.concatenate([events.items, np.array(items, np.int32)])[order],
        timestamps[order],
        np.concatenate([events.liked, np.zeros(count, np.bool_)])[order],
        np.concatenate([events.values, np.full(count, np.nan, np.float32)])[order],
    )
    return replace(dataset, events=joined)


def select_targets(searches: Sequence[Search], name: str) -> list[Target]:
    """The targets of one of ``SETS``, by time."""
    firsts: dict[str, dict[str, Target]] = {}
    last: dict[str, Target] = {}
    for search in searches:
        target = Target(search.user_id, search.timestamp, search.key, True)
        firsts.setdefault(search.user_id, {}).setdefault(search.key, target)
        last[search.user_id] = Target(search.user_id, search.timestamp, search.key, False)
    if name == "next":
        targets = list(last.values())
    else:
        positions = {"new": [1], "validation": [2], "recent": [1, *range(3, NUM_RECENT + 2)]}[name]
        tags_by_user = [list(tags.values()) for tags in firsts.values()]
        targets = [
            tags[-position]
            for tags in tags_by_user
            for position in positions
            if len(tags) >= position
        ]
    return sorted(targets, key=lambda target: (target.timestamp, target.user_id))
