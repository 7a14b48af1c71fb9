"""What there is to see in semantic IDs: one item, one group, two versions.

``serendip ids report``: how good the current semantic IDs are, as JSON and as a page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np

from serendip.content.semantic_ids.agreement import neighbour_agreement, pair_agreement
from serendip.content.semantic_ids.group_names import build_group_name
from serendip.content.semantic_ids.kmeans import measure_code_quality
from serendip.data.arrays import IntArray
from serendip.data.dataset import cooccurring_pairs
from serendip.data.item import Catalogue
from serendip.data.semantic_ids import code_name, common_prefix
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, DataError, UnknownItemError
from serendip.evaluate.report.page import render_codes_page
from serendip.jobs.context import JobContext
from serendip.jobs.semantic_ids.build import CodeSource, codes_of, read_source, shares_kept
from serendip.jobs.semantic_ids.versions import IdVersion, open_version, require_current
from serendip.runtime.atomic_files import write_text

SHOWN = 20
"""Items or groups that are told one by one; the others are only counted."""


def show(workspace: Workspace, name: str) -> dict[str, Any]:
    """An item with the names of its groups, or a group with what is in it.

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
        return _item(workspace, version, row)
    prefix = _prefix(name, version.items.codes.shape[1])
    rows = _members(version, prefix)
    if prefix and len(rows):
        return _group(workspace, version, prefix, rows)
    while prefix and not len(_members(version, prefix)):
        prefix = prefix[:-1]
    raise UnknownItemError(
        f"{name!r} is neither an item nor a code prefix in use in {version.name}.",
        f"{code_name(prefix)} is in use: `serendip ids show {code_name(prefix)}-` lists its groups."
        if prefix
        else "Prefixes are written like 12 or 12-7.",
    )


def diff(workspace: Workspace, before: str, after: str) -> dict[str, Any]:
    """How the IDs of two versions differ; items that left a larger group come first.

    Raises:
        DataError: there is no such version.
    """
    old, new = (open_version(workspace.semantic_ids, name) for name in (before, after))
    old_row, new_row = old.items.row_of(), new.items.row_of()
    shared = [name for name in new.items.ids if name in old_row]
    left = old.items.codes[[old_row[name] for name in shared]]
    right = new.items.codes[[new_row[name] for name in shared]]
    levels = min(left.shape[1], right.shape[1])
    stayed = common_prefix(left[:, :levels], right[:, :levels])
    moved = np.flatnonzero((stayed < levels) | (left.shape[1] != right.shape[1]))
    moved = moved[np.argsort(stayed[moved], kind="stable")]
    kept = shares_kept(right[:, :levels], left[:, :levels])
    examples = moved[:SHOWN].tolist()
    titles = _titles(workspace, [shared[at] for at in examples])
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
                "title": title,
                "before": code_name(left[at]),
                "after": code_name(right[at]),
            }
            for at, title in zip(examples, titles, strict=True)
        ],
    }


def largest_groups(
    version: IdVersion, codes: IntArray, prefix: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """The largest groups into which the next level divides items, with names.

    Args:
        version: whose names are told.
        codes: (N, L) of the items, all of which begin with ``prefix``; L is more than its length.
        prefix: of the group that is divided; none = the whole catalogue.
    """
    numbers, counts = np.unique(codes[:, len(prefix)], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:SHOWN]
    found = zip(numbers[order].tolist(), counts[order].tolist(), strict=True)
    groups = [(code_name((*prefix, number)), count) for number, count in found]
    return [
        {"prefix": name, "name": version.names.get(name, ""), "items": count}
        for name, count in groups
    ]


def _item(workspace: Workspace, version: IdVersion, row: int) -> dict[str, Any]:
    codes = version.items.codes[row]
    prefixes = [codes[:depth].tolist() for depth in range(1, len(codes) + 1)]
    return {
        "version": version.name,
        "item_id": version.items.ids[row],
        "title": _titles(workspace, [version.items.ids[row]])[0],
        "codes": codes.tolist(),
        "place": int(version.items.places[row]),
        "full_id": f"{code_name(codes)}-{int(version.items.places[row])}",
        "listed": bool(version.items.listed[row]),
        "prefixes": [
            {
                "prefix": code_name(prefix),
                "name": version.names.get(code_name(prefix), ""),
                "members": len(_members(version, prefix)),
            }
            for prefix in prefixes
        ],
    }


def _group(
    workspace: Workspace, version: IdVersion, prefix: Sequence[int], rows: IntArray
) -> dict[str, Any]:
    codes, shown = version.items.codes, rows[:SHOWN].tolist()
    titles = _titles(workspace, [version.items.ids[row] for row in shown])
    inside = codes[rows, len(prefix) :]
    return {
        "version": version.name,
        "prefix": code_name(prefix),
        "name": build_group_name(version.names, prefix),
        "members": len(rows),
        "num_groups": len(np.unique(inside[:, 0])) if inside.shape[1] else 0,
        "groups": largest_groups(version, codes[rows], prefix) if inside.shape[1] else [],
        "items": [
            {"item_id": version.items.ids[row], "id": code_name(codes[row]), "title": title}
            for row, title in zip(shown, titles, strict=True)
        ],
    }


def _prefix(name: str, levels: int) -> list[int]:
    """The codes of a prefix as people write it; none where it is not one."""
    parts = name.removesuffix("-").split("-")
    is_prefix = all(part.isdecimal() and len(part) < 9 for part in parts)
    return [int(part) for part in parts] if is_prefix and len(parts) <= levels else []


def _members(version: IdVersion, prefix: Sequence[int]) -> IntArray:
    """Rows of the listed items whose codes begin with a prefix."""
    codes = version.items.codes[:, : len(prefix)]
    found = (codes == np.array(prefix, np.int32)).all(1) & version.items.listed
    return np.flatnonzero(found).astype(np.int32)


def _titles(workspace: Workspace, item_ids: Sequence[str]) -> list[str]:
    """Titles as the store has them; empty for items that have left it."""
    with closing(workspace.open_store()) as store:
        found = [store.item(name) for name in item_ids]
    return [item.title if item else "" for item in found]


REPORT_JSON, REPORT_HTML = "semantic-ids.json", "semantic-ids.html"
_EXAMPLES = 3


def report(context: JobContext) -> dict[str, Any]:
    """Measure the current IDs and write ``reports/semantic-ids.{json,html}``.

    Raises:
        NotTrainedError: IDs were never built.
        UnknownItemError: items have no ID yet.
    """
    workspace = context.workspace
    version = require_current(workspace.semantic_ids)
    source = read_source(context)
    _require_all_coded(version, source)
    measured = _measured(version, source, context.options.seed)
    document = {**measured, "kept": _kept(workspace, version)}
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(workspace.reports / REPORT_JSON, text)
    write_text(workspace.reports / REPORT_HTML, render_codes_page(document))
    return document


def _measured(version: IdVersion, source: CodeSource, seed: int) -> dict[str, Any]:
    catalogue = source.dataset.catalogue
    codes = codes_of(version.items, catalogue)
    content = version.fusion.encode(source.encoded)
    size = version.codebooks.codebook_size
    measured = measure_code_quality(codes, size)
    together = cooccurring_pairs(source.dataset.events)
    return {
        "version": version.name,
        "parent": version.manifest["parent"],
        "created": version.manifest["created"],
        "changes": version.manifest["changes"],
        "made_from": version.manifest["made_from"],
        "num_items": measured.num_items,
        "collision_rate": measured.collision_rate,
        "used": measured.used,
        "dead": measured.dead,
        "perplexity": measured.perplexity,
        "largest": measured.largest,
        "sizes": [np.sort(np.bincount(level, minlength=size))[::-1].tolist() for level in codes.T],
        "shared_by": _shared_by(codes),
        "neighbour_agreement": neighbour_agreement(content, codes, seed=seed),
        "pair_agreement": pair_agreement(together, codes),
        "groups": [
            {**group, "examples": _examples(int(group["prefix"]), codes, catalogue)}
            for group in largest_groups(version, codes)
        ],
    }


def _require_all_coded(version: IdVersion, source: CodeSource) -> None:
    known = version.items.row_of()
    missing = [name for name in source.dataset.catalogue.vocabulary.ids if name not in known]
    if missing:
        raise UnknownItemError(
            f"{len(missing):,} items have no ID in {version.name}, {missing[0]!r} for one.",
            "Run `serendip ids build`.",
        )


def _shared_by(codes: IntArray) -> list[int]:
    """Items whose full code is theirs alone, or shared by 2, 3, 4, and by 5 or more."""
    _, counts = np.unique(codes, axis=0, return_counts=True)
    sharing = np.bincount(np.minimum(counts, 5), weights=counts, minlength=6)
    return [int(items) for items in sharing[1:]]


def _kept(workspace: Workspace, version: IdVersion) -> dict[str, Any] | None:
    """What stayed since the version before; None where that is not there any more, or never was."""
    try:
        found = diff(workspace, version.manifest["parent"] or "", version.name)
    except (ArtefactError, DataError):
        return None
    names = ("before", "after", "shared", "moved", "new", "left_out", "kept", "kept_all_levels")
    return {name: found[name] for name in names} if found["kept"] else None


def _examples(code: int, codes: IntArray, catalogue: Catalogue) -> list[str]:
    """Titles of the first items of a group of level 0."""
    members = np.flatnonzero(codes[:, 0] == code)[:_EXAMPLES].tolist()
    return [catalogue[number].title or catalogue[number].item_id for number in members]
