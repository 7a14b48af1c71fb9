"""What the doctor looks at: items and events as columns, encoded once for all checks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from serendip.data.arrays import BoolArray, IntArray
from serendip.data.event_columns import EventColumns
from serendip.data.item import Item
from serendip.data.vocabulary import Vocabulary

MAX_EXAMPLES = 10


class Checked:
    """Items and events as the checks see them; encodings are computed once.

    Args:
        items: the items that are not deleted.
        events: the whole log, in order of time.
        now: Unix seconds; later events are in the future.
        repeated_ids: (count, examples) of item ids that came more than once in the files.
    """

    def __init__(
        self,
        items: Sequence[Item],
        events: EventColumns,
        now: float,
        repeated_ids: tuple[int, tuple[str, ...]] = (0, ()),
    ) -> None:
        self.items = items
        self.events = events
        self.now = now
        self.repeated_ids = repeated_ids

    @cached_property
    def user_names(self) -> Vocabulary:
        """Users in order of their first event."""
        return Vocabulary(dict.fromkeys(self.events.user_ids))

    @cached_property
    def users(self) -> IntArray:
        """(E,) user numbers."""
        return self.user_names.numbers(self.events.user_ids)

    @cached_property
    def by_user(self) -> IntArray:
        """(U,) events per user."""
        return np.bincount(self.users, minlength=len(self.user_names)).astype(np.int32)

    @cached_property
    def logged(self) -> Vocabulary:
        """Item ids of the log, in order of their first event."""
        return Vocabulary(dict.fromkeys(self.events.item_ids))

    @cached_property
    def known_ids(self) -> frozenset[str]:
        """Ids of the catalogue."""
        return frozenset(item.item_id for item in self.items)

    def show(self, rows: BoolArray) -> tuple[str, ...]:
        """The first ten of the events that a mask (E,) selects."""
        first = np.flatnonzero(rows)[:MAX_EXAMPLES].tolist()
        columns = self.events
        return tuple(
            f"user {columns.user_ids[row]}, item {columns.item_ids[row]}, "
            f"time {columns.timestamps[row]:.0f}"
            for row in first
        )
