"""Small worlds for the tests of data: events are written as (user, item, time)."""

import numpy as np
from hypothesis import strategies as st

from serendip.data import Catalogue, Dataset, EventLog, Item, Vocabulary


def dataset_of(rows, items="abcdef", available=None):
    """A dataset of rows in any order; ``available`` maps item ids to ``available_from``."""
    known = available or {}
    catalogue = Catalogue(Item(name, available_from=known.get(name)) for name in items)
    ordered = sorted(rows, key=lambda row: row[2])
    users = Vocabulary(dict.fromkeys(user for user, _, _ in ordered))
    events = EventLog(
        users.numbers(user for user, _, _ in ordered),
        catalogue.vocabulary.numbers(item for _, item, _ in ordered),
        np.array([time for _, _, time in ordered], dtype=np.float64),
        np.array([item in "abc" for _, item, _ in ordered], dtype=np.bool_),
        np.full(len(ordered), np.nan, dtype=np.float32),
    )
    return Dataset(catalogue, users, events)


LOGS = st.lists(
    st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcdef"), st.integers(1, 12)),
    min_size=2,
    max_size=40,
)
