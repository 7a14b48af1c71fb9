"""``serendip ids show``, ``diff`` and ``report``: inspects semantic IDs and their quality.

The report on the current version is written as JSON and as a page.
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
from serendip.data.items.catalogue import Catalogue
from serendip.data.items.semantic_ids import code_name, common_prefix
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, DataError, UnknownItemError
from serendip.evaluate.report.page import render_codes_page
from serendip.jobs.context import JobContext
from serendip.jobs.semantic_ids.build import CodeSource, compare_codes, read_source, select_codes
from serendip.jobs.semantic_ids.versions import IdVersion, open_version, require_current
from serendip.runtime.atomic_files import write_text
from serendip.runtime.extras import require_training

MAX_LISTED = 20
"""Largest number of listed items or groups; the others are only counted."""


def describe(workspace: Workspace, name: str) -> dict[str, Any]:
    """Describe an item with its groups, or a group with its items and subgroups.

    Args:
        workspace: of the current version.
        name: an item id, or a code prefix (``12``, ``12-7``). A trailing dash (``12-``) marks a
            prefix if there is an item with the id ``12``.

    Raises:
        UnknownItemError: ``name`` is neither an item nor a prefix in use.
    """
    version = require_current(workspace.semantic_ids)
    row = version.items.row_of().get(name)
    if row is not None:
        return _describe_item(workspace, version, row)
    prefix = _parse_prefix(name, version.items.codes.shape[1])
    rows = _find_members(version, prefix)
    if prefix and len(rows):
        return _describe_group(workspace, version, prefix, rows)
    while prefix and not len(_find_members(version, prefix)):
        prefix = prefix[:-1]
    raise UnknownItemError(
        f"{name!r} is neither an item nor a code prefix in use in {version.name}.",
        f"{code_name(prefix)} is in use: `serendip ids show {code_name(prefix)}-` lists its groups."
        if prefix
        else "Give an item id or a prefix such as 12 or 12-7.",
    )


def compare_versions(workspace: Workspace, before: str, after: str) -> dict[str, Any]:
    """Compare the IDs of two versions; items that changed at a higher level come first.

    Raises:
        DataError: there is no such version.
    """
    old, new = (open_version(workspace.semantic_ids, name) for name in (before, after))
    old_row, new_row = old.items.row_of(), new.items.row_of()
    shared = [name for name in new.items.ids if name in old_row]
    left = old.items.codes[[old_row[name] for name in shared]]
    right = new.items.codes[[new_row[name] for name in shared]]
    levels = min(left.shape[1], right.shape[1])
    unchanged = common_prefix(left[:, :levels], right[:, :levels])
    moved = np.flatnonzero((unchanged < levels) | (left.shape[1] != right.shape[1]))
    moved = moved[np.argsort(unchanged[moved], kind="stable")]
    shares = compare_codes(right[:, :levels], left[:, :levels])
    examples = moved[:MAX_LISTED].tolist()
    titles = _read_titles(workspace, [shared[row] for row in examples])
    return {
        "before": old.name,
        "after": new.name,
        "shared": len(shared),
        "new": len(new.items.ids) - len(shared),
        "left_out": len(old.items.ids) - len(shared),
        "kept": shares[:-1],
        "kept_all_levels": shares[-1] if shares else None,
        "moved": len(moved),
        "examples": [
            {
                "item_id": shared[row],
                "title": title,
                "before": code_name(left[row]),
                "after": code_name(right[row]),
            }
            for row, title in zip(examples, titles, strict=True)
        ],
    }


def list_groups(
    version: IdVersion, codes: IntArray, prefix: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """The largest groups of items at the next level, with their names and sizes.

    Args:
        version: with the names of groups.
        codes: (N, L) codes that all begin with ``prefix`` and are longer.
        prefix: of the group that is divided; empty = the whole catalogue.
    """
    numbers, counts = np.unique(codes[:, len(prefix)], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_LISTED]
    largest = zip(numbers[order].tolist(), counts[order].tolist(), strict=True)
    groups = [(code_name((*prefix, number)), count) for number, count in largest]
    return [
        {"prefix": name, "name": version.names.get(name, ""), "items": count}
        for name, count in groups
    ]


def _describe_item(workspace: Workspace, version: IdVersion, row: int) -> dict[str, Any]:
    """An item, its ID and its groups."""
    codes = version.items.codes[row]
    prefixes = [codes[:depth].tolist() for depth in range(1, len(codes) + 1)]
    return {
        "version": version.name,
        "item_id": version.items.ids[row],
        "title": _read_titles(workspace, [version.items.ids[row]])[0],
        "codes": codes.tolist(),
        "place": int(version.items.places[row]),
        "full_id": f"{code_name(codes)}-{int(version.items.places[row])}",
        "listed": bool(version.items.listed[row]),
        "prefixes": [
            {
                "prefix": code_name(prefix),
                "name": version.names.get(code_name(prefix), ""),
                "members": len(_find_members(version, prefix)),
            }
            for prefix in prefixes
        ],
    }


def _describe_group(
    workspace: Workspace, version: IdVersion, prefix: Sequence[int], rows: IntArray
) -> dict[str, Any]:
    """A group, its largest subgroups and its first items."""
    codes, listed = version.items.codes, rows[:MAX_LISTED].tolist()
    titles = _read_titles(workspace, [version.items.ids[row] for row in listed])
    lower_levels = codes[rows, len(prefix) :]
    return {
        "version": version.name,
        "prefix": code_name(prefix),
        "name": build_group_name(version.names, prefix),
        "members": len(rows),
        "num_groups": len(np.unique(lower_levels[:, 0])) if lower_levels.shape[1] else 0,
        "groups": list_groups(version, codes[rows], prefix) if lower_levels.shape[1] else [],
        "items": [
            {"item_id": version.items.ids[row], "id": code_name(codes[row]), "title": title}
            for row, title in zip(listed, titles, strict=True)
        ],
    }


def _parse_prefix(name: str, levels: int) -> list[int]:
    """Parse a prefix such as ``12-7``; empty if it is not a prefix."""
    parts = name.removesuffix("-").split("-")
    is_prefix = all(part.isdecimal() and len(part) < 9 for part in parts)
    return [int(part) for part in parts] if is_prefix and len(parts) <= levels else []


def _find_members(version: IdVersion, prefix: Sequence[int]) -> IntArray:
    """Rows of the listed items whose codes begin with a prefix."""
    codes = version.items.codes[:, : len(prefix)]
    is_member = (codes == np.array(prefix, np.int32)).all(1) & version.items.listed
    return np.flatnonzero(is_member).astype(np.int32)


def _read_titles(workspace: Workspace, item_ids: Sequence[str]) -> list[str]:
    """Titles in the store; empty for items that are not in it."""
    with closing(workspace.open_store()) as store:
        items = [store.item(name) for name in item_ids]
    return [item.title if item else "" for item in items]


REPORT_JSON, REPORT_HTML = "semantic-ids.json", "semantic-ids.html"
_EXAMPLES = 3


def write_report(context: JobContext) -> dict[str, Any]:
    """Measure the current IDs and write ``reports/semantic-ids.{json,html}``.

    Raises:
        ExtraMissing: a package of the extra ``train`` is not installed.
        NotTrainedError: no IDs were built.
        UnknownItemError: an item has no ID yet.
    """
    require_training()
    workspace = context.workspace
    version = require_current(workspace.semantic_ids)
    source = read_source(context)
    _require_all_coded(version, source)
    quality_facts = _measure(version, source, context.options.seed)
    document = {**quality_facts, "kept": _compare_with_parent(workspace, version)}
    workspace.reports.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(workspace.reports / REPORT_JSON, text)
    write_text(workspace.reports / REPORT_HTML, render_codes_page(document))
    return document


def _measure(version: IdVersion, source: CodeSource, seed: int) -> dict[str, Any]:
    """Use of the codes, their agreement with content and behaviour, and the largest groups."""
    catalogue = source.dataset.catalogue
    codes = select_codes(version.items, catalogue)
    content = version.fusion.encode(source.encoded)
    size = version.codebooks.codebook_size
    usage = measure_code_quality(codes, size)
    pairs = cooccurring_pairs(source.dataset.events)
    return {
        "version": version.name,
        "parent": version.manifest["parent"],
        "created": version.manifest["created"],
        "changes": version.manifest["changes"],
        "made_from": version.manifest["made_from"],
        "num_items": usage.num_items,
        "collision_rate": usage.collision_rate,
        "used": usage.used,
        "dead": usage.dead,
        "perplexity": usage.perplexity,
        "largest": usage.largest,
        "sizes": [np.sort(np.bincount(level, minlength=size))[::-1].tolist() for level in codes.T],
        "shared_by": _count_sharing(codes),
        "neighbour_agreement": neighbour_agreement(content, codes, seed=seed),
        "pair_agreement": pair_agreement(pairs, codes),
        "groups": [
            {**group, "examples": _example_titles(int(group["prefix"]), codes, catalogue)}
            for group in list_groups(version, codes)
        ],
    }


def _require_all_coded(version: IdVersion, source: CodeSource) -> None:
    """Raise an error if an item of the catalogue has no ID."""
    row_of = version.items.row_of()
    missing = [name for name in source.dataset.catalogue.vocabulary.ids if name not in row_of]
    if missing:
        raise UnknownItemError(
            f"{len(missing):,} items have no ID in {version.name}, for example {missing[0]!r}.",
            "Run `serendip ids build`.",
        )


def _count_sharing(codes: IntArray) -> list[int]:
    """Number of items whose full code belongs to 1, 2, 3, 4, and to 5 or more items."""
    _, counts = np.unique(codes, axis=0, return_counts=True)
    sharing = np.bincount(np.minimum(counts, 5), weights=counts, minlength=6)
    return [int(items) for items in sharing[1:]]


def _compare_with_parent(workspace: Workspace, version: IdVersion) -> dict[str, Any] | None:
    """Changes since the previous version; None if it is missing or has no shared items."""
    try:
        changes = compare_versions(workspace, version.manifest["parent"] or "", version.name)
    except (ArtefactError, DataError):
        return None
    names = ("before", "after", "shared", "moved", "new", "left_out", "kept", "kept_all_levels")
    return {name: changes[name] for name in names} if changes["kept"] else None


def _example_titles(code: int, codes: IntArray, catalogue: Catalogue) -> list[str]:
    """Titles of the first items of a top-level group."""
    members = np.flatnonzero(codes[:, 0] == code)[:_EXAMPLES].tolist()
    return [catalogue[number].title or catalogue[number].item_id for number in members]
