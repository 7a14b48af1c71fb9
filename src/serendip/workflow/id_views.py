"""What there is to see in semantic IDs: one item, one group, two versions, the whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from serendip.content.agreement import neighbour_agreement, pair_agreement
from serendip.content.semantic_ids import quality
from serendip.data.alignment import cooccurring_pairs
from serendip.data.arrays import IntArray
from serendip.data.durable import write_durably
from serendip.data.semantic_ids import code_name
from serendip.engine.workspace import Workspace
from serendip.errors import UnknownItemError
from serendip.scale.options import TrainOptions
from serendip.workflow.id_versions import IdVersion, open_version, require_current
from serendip.workflow.semantic_ids import codes_of, read_source, shares_kept

SHOWN = 20
REPORT = "semantic-ids.json"


def show(workspace: Workspace, name: str) -> dict[str, Any]:
    """An item with the names of its groups, or a group with its members.

    Args:
        workspace: whose current version is asked.
        name: an item id, or a code prefix (``12``, ``12-7``); with a dash at its end (``12-``) it
            is a prefix even where an item has the id ``12``.

    Raises:
        UnknownItemError: neither an item nor a prefix in use.
    """
    version = require_current(workspace.semantic_ids)
    row = version.items.row_of().get(name)
    if row is not None:
        return _item(version, row)
    prefix = name.removesuffix("-")
    parts = prefix.split("-")
    levels = version.items.codes.shape[1]
    if len(parts) <= levels and all(part.isdecimal() and len(part) < 9 for part in parts):
        rows = _members(version, [int(part) for part in parts])
        if len(rows):
            return _group(version, prefix, rows)
    raise UnknownItemError(
        f"{name!r} is neither an item nor a code prefix in use in {version.name}.",
        "Prefixes are written like 12 or 12-7.",
    )


def diff(workspace: Workspace, before: str, after: str) -> dict[str, Any]:
    """How the IDs of two versions differ.

    Raises:
        DataError: there is no such version.
    """
    old, new = (open_version(workspace.semantic_ids, name) for name in (before, after))
    old_row, new_row = old.items.row_of(), new.items.row_of()
    shared = [name for name in new.items.ids if name in old_row]
    left = old.items.codes[[old_row[name] for name in shared]]
    right = new.items.codes[[new_row[name] for name in shared]]
    levels = min(left.shape[1], right.shape[1])
    moved = np.flatnonzero(
        (left[:, :levels] != right[:, :levels]).any(1) | (left.shape[1] != right.shape[1])
    )
    kept = shares_kept(right[:, :levels], left[:, :levels])
    return {
        "before": old.name,
        "after": new.name,
        "shared": len(shared),
        "new": len(new.items.ids) - len(shared),
        "left_out": len(old.items.ids) - len(shared),
        "kept": kept[:-1],
        "kept_all_levels": kept[-1] if kept else None,
        "moved": len(moved),
        "examples": [
            {
                "item_id": shared[at],
                "before": code_name(left[at]),
                "after": code_name(right[at]),
            }
            for at in moved[:SHOWN].tolist()
        ],
    }


def report(workspace: Workspace, options: TrainOptions) -> dict[str, Any]:
    """How good the current IDs are; also written to ``reports/semantic-ids.json``."""
    version = require_current(workspace.semantic_ids)
    source = read_source(workspace, options)
    known = version.items.row_of()
    ids = source.dataset.catalogue.vocabulary.ids
    missing = [name for name in ids if name not in known]
    if missing:
        raise UnknownItemError(
            f"{len(missing)} items have no ID in {version.name}, {missing[0]!r} for one.",
            "Run `serendip ids build`.",
        )
    codes = codes_of(version.items, source.dataset.catalogue)
    content = version.fusion.encode(source.encoded)
    measured = quality(codes, version.codebooks.codebook_size)
    together = cooccurring_pairs(source.dataset.events)
    document = {
        "version": version.name,
        "parent": version.manifest["parent"],
        "changes": version.manifest["changes"],
        "made_from": version.manifest["made_from"],
        "num_items": measured.num_items,
        "collision_rate": measured.collision_rate,
        "used": measured.used,
        "dead": measured.dead,
        "perplexity": measured.perplexity,
        "largest": measured.largest,
        "neighbour_agreement": neighbour_agreement(content, codes, seed=options.seed),
        "pair_agreement": pair_agreement(together, codes),
        "groups": _largest_groups(version, codes),
    }
    workspace.reports.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    write_durably(workspace.reports / REPORT, text)
    return document


def _item(version: IdVersion, row: int) -> dict[str, Any]:
    codes = version.items.codes[row]
    names = _names(version, codes)
    return {
        "version": version.name,
        "item_id": version.items.ids[row],
        "codes": codes.tolist(),
        "place": int(version.items.places[row]),
        "full_id": f"{code_name(codes)}-{int(version.items.places[row])}",
        "listed": bool(version.items.listed[row]),
        "prefixes": [
            {
                "prefix": prefix,
                "name": name,
                "members": len(_members(version, codes[: level + 1].tolist())),
            }
            for level, (prefix, name) in enumerate(names.items())
        ],
    }


def _group(version: IdVersion, prefix: str, rows: IntArray) -> dict[str, Any]:
    return {
        "version": version.name,
        "prefix": prefix,
        "name": version.names.get(prefix, ""),
        "members": len(rows),
        "items": [
            {"item_id": version.items.ids[row], "id": code_name(version.items.codes[row])}
            for row in rows[:SHOWN].tolist()
        ],
    }


def _members(version: IdVersion, prefix: list[int]) -> IntArray:
    """Rows of the listed items whose codes begin with a prefix."""
    codes = version.items.codes[:, : len(prefix)]
    found = (codes == np.array(prefix)).all(1) & version.items.listed
    return np.flatnonzero(found).astype(np.int32)


def _names(version: IdVersion, codes: IntArray) -> Mapping[str, str]:
    prefixes = [code_name(codes[: level + 1]) for level in range(len(codes))]
    return {prefix: version.names.get(prefix, "") for prefix in prefixes}


def _largest_groups(version: IdVersion, codes: IntArray) -> list[dict[str, Any]]:
    """The largest groups of level 0, with names."""
    numbers, counts = np.unique(codes[:, 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:SHOWN]
    return [
        {
            "prefix": str(number),
            "name": version.names.get(str(number), ""),
            "items": count,
        }
        for number, count in zip(numbers[order].tolist(), counts[order].tolist(), strict=True)
    ]
