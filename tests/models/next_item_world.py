"""A world in which what comes next is certain: users walk round a clock of items."""

import numpy as np

from serendip.data import Catalogue, Dataset, EventLog, Item, Vocabulary

HOURS = 24


def clock_world(num_users: int = 60, length: int = 8) -> Dataset:
    """Each user starts at some hour and takes the next one ``length - 1`` times."""
    users = np.repeat(np.arange(num_users, dtype=np.int32), length)
    steps = np.tile(np.arange(length), num_users)
    items = ((users * 7 + steps) % HOURS).astype(np.int32)
    order = np.argsort(steps, kind="stable")
    count = len(items)
    log = EventLog(
        users[order],
        items[order],
        steps[order].astype(np.float64),
        np.zeros(count, np.bool_),
        np.full(count, np.nan, np.float32),
    )
    catalogue = Catalogue([Item(f"i{hour}", f"Hour {hour}") for hour in range(HOURS)])
    return Dataset(catalogue, Vocabulary(f"u{user}" for user in range(num_users)), log)
