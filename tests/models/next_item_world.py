"""A world in which what comes next is certain: users walk round a clock of items."""

from collections.abc import Sequence

import numpy as np

from serendip.data import Catalogue, Dataset, EventLog, Item, Vocabulary

HOURS = 24


def clock_world(num_users: int = 60, length: int = 8) -> Dataset:
    """Each user starts at some hour and takes the next one ``length - 1`` times."""
    users = np.repeat(np.arange(num_users, dtype=np.int32), length)
    steps = np.tile(np.arange(length), num_users)
    items = ((users * 7 + steps) % HOURS).astype(np.int32)
    order = np.argsort(steps, kind="stable")
    log = log_of(users[order], items[order], steps[order])
    catalogue = Catalogue([Item(f"i{hour}", f"Hour {hour}") for hour in range(HOURS)])
    return Dataset(catalogue, Vocabulary(f"u{user}" for user in range(num_users)), log)


def log_of(users: Sequence[int], items: Sequence[int], times: Sequence[float]) -> EventLog:
    """Events in this order, none of which is a like."""
    count = len(items)
    return EventLog(
        np.asarray(users, np.int32),
        np.asarray(items, np.int32),
        np.asarray(times, np.float64),
        np.zeros(count, np.bool_),
        np.zeros(count, np.float32),
    )


def dataset_of(*sequences: list[int], num_items: int = 4) -> Dataset:
    """A user for each sequence of items; one user's events come after those of the one before."""
    users = [user for user, items in enumerate(sequences) for _ in items]
    items = [item for sequence in sequences for item in sequence]
    people = Vocabulary(str(user) for user in range(len(sequences)))
    catalogue = Catalogue(Item(str(number)) for number in range(num_items))
    return Dataset(catalogue, people, log_of(users, items, range(len(items))))
