"""How often a live state looks for items that others wrote."""

from typing import cast

import pytest

from serendip.data.store.store import ItemChanges, Store
from serendip.engine.engine import Engine
from serendip.engine.live.counts import LiveCounts
from serendip.engine.live.state import ItemUpdater, LiveState


class QuietStore:
    """A store to which nobody writes, and its database, which counts the looks."""

    def __init__(self, is_remote: bool, number: int | None) -> None:
        self.is_remote, self._number, self.looks = is_remote, number, 0
        self.database = self

    def commit_number(self) -> int | None:
        self.looks += 1
        return self._number

    def item_changes(self, after: int, with_imports: bool) -> ItemChanges:
        return ItemChanges(after, after, [])


@pytest.mark.parametrize(
    ("is_remote", "number", "looks"), [(False, 7, 16), (True, 7, 4), (False, None, 4)]
)
def test_a_server_and_a_store_without_a_number_are_asked_twice_a_second(
    engine: Engine, is_remote: bool, number: int | None, looks: int
) -> None:
    store, now = QuietStore(is_remote, number), [0.0]
    updater, counts = cast("ItemUpdater", None), cast("LiveCounts", None)  # nothing is written
    live = LiveState(engine.state, 0, cast("Store", store), updater, counts, lambda: now[0])
    for step in range(16):
        now[0] = step / 8
        live.follow_items()
    assert store.looks == looks
