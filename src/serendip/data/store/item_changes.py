"""What happened to the items of a store since a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serendip.data.item import Item


@dataclass(frozen=True, slots=True, eq=False)
class ItemChanges:
    """What happened to the items of a store since a version.

    Args:
        after: the version.
        version: of the last change.
        items: that changed, those that are deleted now included.
        deleted: ids of those that are deleted now.
    """

    after: int
    version: int
    items: Sequence[Item]
    deleted: frozenset[str] = frozenset()
