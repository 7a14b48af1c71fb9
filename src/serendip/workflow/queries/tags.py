"""Tags of MovieLens as searches: a tag is what somebody typed, its film what they chose.

For each user who tagged, what is asked about is the first use of their newest tag (``new``, which
they had not used before), the first uses of their ten newest ones (``recent``), or their last
tagging whatever it was (``next``). The tag before the newest is what is tuned on (``validation``),
and no part of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from serendip.data.dataset import Dataset, EventLog
from serendip.data.files.readers import EventsConfig, read_events
from serendip.data.search_log import Search
from serendip.data.text import normalise
from serendip.data.vocabulary import Vocabulary
from serendip.errors import DataError

USER_TAGS_FILE = "tags.csv"
_COLUMNS = {"user_id": "userId", "item_id": "movieId", "query": "tag", "timestamp": "timestamp"}
SETS = ("new", "recent", "next", "validation")
NUM_RECENT = 10


@dataclass(frozen=True, slots=True)
class Target:
    """What a user searched next.

    Args:
        user_id: who.
        timestamp: when; only what is earlier is known.
        key: normal form of the tag.
        is_new: whether the user had not used it before, and systems are told so.
    """

    user_id: str
    timestamp: float
    key: str
    is_new: bool


def read_tags(folder: Path, films: Vocabulary) -> list[Search]:
    """All taggings of known films, in order of time; those of one second in order of the file.

    Raises:
        DataError: the file is missing or broken, or holds no tag.
    """
    config = EventsConfig(path=USER_TAGS_FILE, columns=_COLUMNS)
    found = []
    for event in read_events(config, folder):
        film, key = films.number(event.item_id), normalise(event.query)
        if film >= 0 and key:
            chosen = np.array([film], np.int32)
            found.append(Search(event.user_id, event.timestamp, event.query, key, chosen))
    if not found:
        raise DataError(f"{folder / USER_TAGS_FILE} has no tags of known films.")
    return sorted(found, key=lambda one: one.timestamp)


def with_choices(dataset: Dataset, searches: Sequence[Search]) -> Dataset:
    """A copy whose users have also chosen what they found by searching, in order of time.

    Searches of users that the dataset has not are left out.
    """
    rows = [
        (dataset.users.number(one.user_id), int(item), one.timestamp)
        for one in searches
        for item in one.chosen
        if dataset.users.number(one.user_id) >= 0
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
    return replace(dataset, events=joined, _by_user={})


def targets_of(searches: Sequence[Search], name: str) -> list[Target]:
    """The targets of one of ``SETS``, in order of time."""
    firsts: dict[str, dict[str, Target]] = {}
    last: dict[str, Target] = {}
    for one in searches:
        target = Target(one.user_id, one.timestamp, one.key, True)
        firsts.setdefault(one.user_id, {}).setdefault(one.key, target)
        last[one.user_id] = Target(one.user_id, one.timestamp, one.key, False)
    if name == "next":
        found = list(last.values())
    else:
        places = {"new": [1], "validation": [2], "recent": [1, *range(3, NUM_RECENT + 2)]}[name]
        lists = [list(own.values()) for own in firsts.values()]
        found = [own[-place] for own in lists for place in places if len(own) >= place]
    return sorted(found, key=lambda one: (one.timestamp, one.user_id))
