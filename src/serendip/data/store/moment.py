"""What answers read of a store at one moment, so that several processes read the same later.

Events have numbers that only grow, so that a number says which were there. Items and attributes of
users are replaced where they lie; those that a generation does not know are kept here, in a file
that all processes read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from serendip.data.store.item_rows import item_values, items_of, read_attributes
from serendip.data.store.log_view import LogPosition
from serendip.data.store.store import ItemChanges, Store
from serendip.data.user import User


@dataclass(frozen=True, slots=True)
class StoreMoment:
    """A store as it was.

    Args:
        position: of the event log.
        items: what happened to items since the version that a generation has.
        users: id -> user, of those with attributes.
    """

    position: LogPosition
    items: ItemChanges
    users: Mapping[str, User]

    @classmethod
    def read(cls, store: Store, item_version: int) -> Self:
        """The present moment.

        Args:
            store: of the workspace.
            item_version: up to which items are known.
        """
        users = {user.user_id: user for user in store.users.all()}
        items = store.item_changes(item_version)
        return cls(store.log.mark(), items, users)

    def save(self, path: Path) -> None:
        """Write a file for other processes."""
        content = {
            "log": [self.position.removals, self.position.seq],
            "versions": [self.items.after, self.items.version],
            "items": [item_values(item) for item in self.items.items],
            "deleted": sorted(self.items.deleted),
            "users": [[one.user_id, dict(one.attributes)] for one in self.users.values()],
        }
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        users = {
            name: User(name, read_attributes(json.dumps(had))) for name, had in content["users"]
        }
        items = items_of(content["items"])
        after, version = content["versions"]
        changes = ItemChanges(after, version, items, frozenset(content["deleted"]))
        return cls(LogPosition(*content["log"]), changes, users)
