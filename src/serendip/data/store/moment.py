"""What answers read of a store at one moment, so that several processes read the same later.

Events have numbers that only grow, so that a number says which were there. Items are replaced where
they lie; those that a generation does not know are kept here, in a file that all processes read.
Attributes of users are those of the present.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from serendip.data.store.event_log.view import LogPosition, LogView
from serendip.data.store.item_rows import item_values, items_of
from serendip.data.store.store import ItemChanges, Store

_FILE = "moment.json"


@dataclass(frozen=True, slots=True)
class StoreMoment:
    """A store as it was.

    Args:
        position: of the event log.
        items: what happened to items since the version that a generation has.
    """

    position: LogPosition
    items: ItemChanges

    @classmethod
    def write(
        cls, store: Store, item_version: int, folder: Path, without: Sequence[str] = ()
    ) -> list[str]:
        """Write the present moment for ``open``, read in one transaction.

        Args:
            store: of the workspace.
            item_version: up to which items are known.
            folder: an empty one, for its file.
            without: actions that do not count as user activity.

        Returns:
            ids of all users with events at the moment, the most active first.
        """

        def read(view: LogView) -> tuple[LogPosition, ItemChanges, list[str]]:
            position, active = view.position(), list(view.count_users(2**31 - 1, without))
            items = store.read_item_changes(view.connection, item_version)
            return position, items, active

        position, items, active = store.read_at_once(read)
        content = {
            "log": [position.removals, position.seq, position.imports],
            "versions": [items.after, items.version],
            "items": [item_values(item) for item in items.items],
            "deleted": sorted(items.deleted),
        }
        (folder / _FILE).write_text(json.dumps(content), encoding="utf-8")
        return active

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what ``write`` wrote."""
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        items = items_of(content["items"])
        after, version = content["versions"]
        changes = ItemChanges(after, version, items, frozenset(content["deleted"]))
        return cls(LogPosition(*content["log"]), changes)

    def hold(self, store: Store) -> None:
        """Let a store answer as it was, from now on."""
        store.read_as_of(self.position, self.items)
