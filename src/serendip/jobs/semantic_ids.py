"""``serendip ids show``: inspects semantic IDs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serendip.content.semantic_ids.group_names import build_group_name
from serendip.data import IntArray
from serendip.data.items.catalogue import open_catalogue
from serendip.data.items.semantic_ids import code_name
from serendip.engine.artefacts.generations import open_current
from serendip.engine.state_parts import CONTENT, CatalogueContent
from serendip.engine.workspace import Workspace
from serendip.errors import UnknownItemError

MAX_LISTED = 20
"""Largest number of listed items or groups; the others are only counted."""


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Groups of items by the prefixes of their codes.

    Args:
        codes: (N, L) int32.
        names: code prefix (``12`` or ``12-7``) -> readable name.
    """

    codes: IntArray
    names: Mapping[str, str]

    def find_members(self, prefix: Sequence[int]) -> IntArray:
        codes = self.codes[:, : len(prefix)]
        return np.flatnonzero((codes == np.array(prefix, np.int32)).all(1)).astype(np.int32)

    def find(self, prefix: Sequence[int]) -> dict[str, Any]:
        name = code_name(prefix)
        size = len(self.find_members(prefix))
        return {"prefix": name, "name": self.names.get(name, ""), "items": size}

    def divide(self, prefix: Sequence[int] = ()) -> dict[str, Any]:
        """The largest of the groups that a group consists of, and the number of all."""
        level, rows = len(prefix), self.find_members(prefix)
        if level == self.codes.shape[1]:
            return {"num_groups": 0, "groups": []}
        numbers, counts = np.unique(self.codes[rows, level], return_counts=True)
        largest = numbers[np.argsort(-counts, kind="stable")[:MAX_LISTED]].tolist()
        groups = [self.find((*prefix, number)) for number in largest]
        return {"num_groups": len(numbers), "groups": groups}


def describe(workspace: Workspace, name: str) -> dict[str, Any]:
    """Describe an item with its groups, or a group with its items and subgroups.

    Args:
        workspace: of the generation in force.
        name: an item id, or a code prefix (``12``, ``12-7``). A trailing dash (``12-``) marks a
            prefix if there is an item with the id ``12``.

    Raises:
        UnknownItemError: ``name`` is neither an item nor a prefix in use.
    """
    generation = open_current(workspace.generations)
    folder = generation.folder / CONTENT
    content, items = CatalogueContent.open(folder), open_catalogue(folder).vocabulary
    codes = content.features.codes
    groups = _Groups(codes, content.code_names)
    row = items.number(name) if name in items else -1
    prefix = codes[row].tolist() if row >= 0 else _parse_prefix(name, codes.shape[1])
    rows = [row] if row >= 0 else groups.find_members(prefix).tolist() if prefix else []
    if not rows:
        while prefix and not len(groups.find_members(prefix)):
            prefix = prefix[:-1]
        known = code_name(prefix)
        raise UnknownItemError(
            f"{name!r} is neither an item nor a code prefix in use in {generation.name}.",
            f"{known} is in use: `serendip ids show {known}-` lists its groups."
            if prefix
            else "Give an item id or a prefix such as 12 or 12-7.",
        )
    with workspace.open_store() as store:
        listed = [
            {
                "item_id": items.ids[one],
                "id": code_name(codes[one]),
                "title": item.title if (item := store.item(items.ids[one])) else "",
            }
            for one in rows[:MAX_LISTED]
        ]
    if row >= 0:
        above = [groups.find(prefix[:depth]) for depth in range(1, len(prefix) + 1)]
        return {"version": generation.name, **listed[0], "codes": prefix, "groups": above}
    name = build_group_name(groups.names, prefix)
    group = {"prefix": code_name(prefix), "name": name, "members": len(rows), "items": listed}
    return {"version": generation.name, **group, **groups.divide(prefix)}


def _parse_prefix(name: str, levels: int) -> list[int]:
    parts = name.removesuffix("-").split("-")
    is_prefix = all(part.isdecimal() and len(part) < 9 for part in parts)
    return [int(part) for part in parts] if is_prefix and len(parts) <= levels else []
