"""Duplicates, other orders and other batches of the same events lead to the same state."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data.events.event import Event
from serendip.data.store.store import Store

EVENTS = [
    Event(f"u{number % 3}", f"i{number % 5}", 1.0 + number, event_id=f"e{number}")
    for number in range(8)
]

sendings = st.lists(st.lists(st.sampled_from(EVENTS), max_size=6), max_size=8)
"""Batches with any of the events, any number of times, in any order."""


def state(store: Store) -> tuple[list[tuple[str, str, float, str]], int]:
    """What is stored, and in which order each user did it."""
    rows = [
        (event.user_id, event.item_id, event.timestamp, event.event_id)
        for user in range(3)
        for event in store.log.history(f"u{user}", 99)
    ]
    return rows, store.log.count()


@settings(max_examples=4, deadline=None, derandomize=True)
@given(sendings, st.permutations(EVENTS), st.integers(0, 8))
def test_what_is_sent_again_in_parts_or_in_another_order_changes_nothing(
    batches: list[list[Event]], rest: list[Event], compacted_after: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with closing(Store.create(Path(folder) / "s.db")) as store:
            for number, batch in enumerate([*batches, rest, *batches]):
                store.put_events(batch)
                if number == compacted_after:
                    store.pack()  # what is in a segment is known, too
            sent = [(e.user_id, e.item_id, e.timestamp, e.event_id) for e in EVENTS]
            assert state(store) == (sorted(sent, key=lambda row: (row[0], row[2])), len(EVENTS))
