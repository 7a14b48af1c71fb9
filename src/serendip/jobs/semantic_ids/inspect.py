"""``serendip ids show`` and ``report``: inspects semantic IDs and their quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from serendip.content.semantic_ids.agreement import neighbour_agreement, pair_agreement
from serendip.content.semantic_ids.group_names import build_group_name
from serendip.content.semantic_ids.kmeans import measure_code_quality
from serendip.data import IntArray, Vocabulary
from serendip.data.dataset import cooccurring_pairs
from serendip.data.items.semantic_ids import code_name
from serendip.engine.artefacts.generations import open_current
from serendip.engine.state import EngineState, open_code_names, open_codes
from serendip.engine.workspace import Workspace
from serendip.errors import UnknownItemError
from serendip.evaluate.number_format import percent
from serendip.jobs.context import JobContext
from serendip.runtime.sync import Place
from serendip.runtime.versions import Version


@dataclass(frozen=True, slots=True, eq=False)
class GenerationCodes:
    """Semantic IDs of the items of a generation.

    Args:
        generation: that has them.
        items: N ids.
        codes: (N, L) int32.
        codebook_size: codes per level.
        names: code prefix (``12`` or ``12-7``) -> readable name.
    """

    generation: Version
    items: Vocabulary
    codes: IntArray
    codebook_size: int
    names: Mapping[str, str]

    @classmethod
    def open(cls, generations: Place) -> Self:
        """Read those of the generation in force.

        Raises:
            NotTrainedError: none is published.
        """
        version = open_current(generations)
        codebooks, items, codes = open_codes(version.folder)
        names = open_code_names(version.folder)
        return cls(version, items, codes, codebooks.codebook_size, names)


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
    version = GenerationCodes.open(workspace.generations)
    row = version.items.number(name) if name in version.items else -1
    if row >= 0:
        return _describe_item(workspace, version, row)
    prefix = _parse_prefix(name, version.codes.shape[1])
    rows = _find_members(version, prefix)
    if prefix and len(rows):
        return _describe_group(workspace, version, prefix, rows)
    while prefix and not len(_find_members(version, prefix)):
        prefix = prefix[:-1]
    raise UnknownItemError(
        f"{name!r} is neither an item nor a code prefix in use in {version.generation.name}.",
        f"{code_name(prefix)} is in use: `serendip ids show {code_name(prefix)}-` lists its groups."
        if prefix
        else "Give an item id or a prefix such as 12 or 12-7.",
    )


def list_groups(
    version: GenerationCodes, codes: IntArray, prefix: Sequence[int] = ()
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


def _describe_item(workspace: Workspace, version: GenerationCodes, row: int) -> dict[str, Any]:
    """An item, its ID and its groups."""
    codes = version.codes[row]
    prefixes = [codes[:depth].tolist() for depth in range(1, len(codes) + 1)]
    return {
        "version": version.generation.name,
        "item_id": version.items.ids[row],
        "title": _read_titles(workspace, [version.items.ids[row]])[0],
        "codes": codes.tolist(),
        "id": code_name(codes),
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
    workspace: Workspace, version: GenerationCodes, prefix: Sequence[int], rows: IntArray
) -> dict[str, Any]:
    """A group, its largest subgroups and its first items."""
    codes, listed = version.codes, rows[:MAX_LISTED].tolist()
    titles = _read_titles(workspace, [version.items.ids[row] for row in listed])
    lower_levels = codes[rows, len(prefix) :]
    return {
        "version": version.generation.name,
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


def _find_members(version: GenerationCodes, prefix: Sequence[int]) -> IntArray:
    """Rows of the items whose codes begin with a prefix."""
    codes = version.codes[:, : len(prefix)]
    return np.flatnonzero((codes == np.array(prefix, np.int32)).all(1)).astype(np.int32)


def _read_titles(workspace: Workspace, item_ids: Sequence[str]) -> list[str]:
    """Titles in the store; empty for items that are not in it."""
    with workspace.open_store() as store:
        items = [store.item(name) for name in item_ids]
    return [item.title if item else "" for item in items]


def measure_codes(context: JobContext) -> dict[str, Any]:
    """Measure the IDs of the generation in force: use of the codes, agreement with content and
    behaviour, the largest groups, and what was ``kept`` from the generation before.

    Raises:
        NotTrainedError: no generation is published.
    """
    version = GenerationCodes.open(context.workspace.generations)
    manifest, codes, dataset = version.generation.manifest, version.codes, context.dataset
    content = np.asarray(EngineState.open(version.generation.folder).features.content)
    numbers = version.items.numbers(dataset.catalogue.vocabulary.ids)
    pairs = numbers[cooccurring_pairs(dataset.events)]  # items that came since have none
    pairs = pairs[(pairs >= 0).all(1)]
    *levels, whole = manifest["semantic_ids"]["kept"] or [None]
    kept = {"before": manifest["previous"], "kept": levels, "kept_all_levels": whole}
    return {
        "version": version.generation.name,
        **asdict(measure_code_quality(codes, version.codebook_size)),
        "neighbour_agreement": neighbour_agreement(content, codes, seed=context.options.seed),
        "pair_agreement": pair_agreement(pairs, codes),
        "groups": list_groups(version, codes),
        "kept": kept if levels else None,
    }


def describe_quality(report: Mapping[str, Any]) -> list[str]:
    """Describe the quality of measured codes in sentences."""
    lines = [
        f"{percent(report['collision_rate'])} of the items share their full code with another."
    ]
    if report["neighbour_agreement"] is not None:
        share = percent(report["neighbour_agreement"])
        lines.append(f"{share} share their first code with the nearest item by content.")
    if report["pair_agreement"] is not None:
        together, chance = (percent(report["pair_agreement"][k]) for k in ("together", "by_chance"))
        lines.append(f"{together} of the items chosen together share it ({chance} by chance).")
    if kept := report["kept"]:
        share, before = percent(kept["kept_all_levels"]), kept["before"]
        lines.append(f"{share} of the items keep all codes that they had in {before}.")
    return lines
