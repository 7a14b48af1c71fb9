"""``serendip ids show`` and ``report``: inspects semantic IDs and their quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from serendip.content.semantic_ids.group_names import build_group_name
from serendip.content.semantic_ids.kmeans import measure_code_quality
from serendip.data import FloatArray, IntArray
from serendip.data.dataset import cooccurring_pairs
from serendip.data.items.semantic_ids import code_name
from serendip.engine.artefacts.generations import open_current
from serendip.engine.state import EngineState, open_code_names, open_codes
from serendip.engine.workspace import Workspace
from serendip.errors import UnknownItemError
from serendip.evaluate.number_format import percent
from serendip.jobs.context import JobContext
from serendip.runtime.threads import num_threads

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
        """Rows of the items whose codes begin with a prefix."""
        codes = self.codes[:, : len(prefix)]
        return np.flatnonzero((codes == np.array(prefix, np.int32)).all(1)).astype(np.int32)

    def find(self, prefix: Sequence[int]) -> dict[str, Any]:
        """A group with its name and size."""
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
    _, items, codes = open_codes(generation.folder)
    groups = _Groups(codes, open_code_names(generation.folder))
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
    """Parse a prefix such as ``12-7``; empty if it is not a prefix."""
    parts = name.removesuffix("-").split("-")
    is_prefix = all(part.isdecimal() and len(part) < 9 for part in parts)
    return [int(part) for part in parts] if is_prefix and len(parts) <= levels else []


def measure_codes(context: JobContext) -> dict[str, Any]:
    """Measure the IDs of the generation in force: use of the codes, agreement with content and
    behaviour, the largest groups, and what was ``kept`` from the generation before.

    Raises:
        NotTrainedError: no generation is published.
    """
    generation, dataset = open_current(context.workspace.generations), context.dataset
    codebooks, items, codes = open_codes(generation.folder)
    content = np.asarray(EngineState.open(generation.folder).features.content)
    numbers = items.numbers(dataset.catalogue.vocabulary.ids)
    pairs = numbers[cooccurring_pairs(dataset.events)]  # items that came since have none
    pairs = pairs[(pairs >= 0).all(1)]
    *levels, whole = generation.manifest["semantic_ids"]["kept"] or [None]
    kept = {"before": generation.manifest["previous"], "kept": levels, "kept_all_levels": whole}
    return {
        "version": generation.name,
        **asdict(measure_code_quality(codes, codebooks.codebook_size)),
        "neighbour_agreement": neighbour_agreement(content, codes, seed=context.options.seed),
        "pair_agreement": pair_agreement(pairs, codes),
        **_Groups(codes, open_code_names(generation.folder)).divide(),
        "kept": kept if levels else None,
    }


_MAX_SAMPLE = 5_000
"""Items whose nearest neighbour is searched; more do not change the share."""


def neighbour_agreement(content: FloatArray, codes: IntArray, seed: int = 0) -> float | None:
    """Share of up to 5,000 items whose nearest item by content has the same level-0 code.

    Args:
        content: (N, D) float32 vectors; items without content (zeros) are left out.
        codes: (N, L) codes, not necessarily of these vectors.
        seed: of the sample.

    Returns:
        in [0, 1]; None with fewer than two items.
    """
    import faiss

    rows = np.flatnonzero(content.any(1))  # items with content
    if len(rows) < 2:
        return None
    faiss.omp_set_num_threads(num_threads())
    index = faiss.IndexFlatIP(content.shape[1])
    vectors = np.ascontiguousarray(content[rows], dtype=np.float32)
    index.add(vectors)
    sample = np.arange(len(rows))
    if len(sample) > _MAX_SAMPLE:
        sample = np.random.default_rng(seed).choice(sample, _MAX_SAMPLE, replace=False)  # (S,)
    _, neighbours = index.search(vectors[sample], 2)  # (S, 2); one of them may be the item itself
    nearest = np.where(neighbours[:, 0] == sample, neighbours[:, 1], neighbours[:, 0])  # (S,)
    return float((codes[rows[nearest], 0] == codes[rows[sample], 0]).mean())


def pair_agreement(pairs: IntArray, codes: IntArray) -> dict[str, float] | None:
    """Share of item pairs chosen together that have the same level-0 code, and of random pairs.

    Args:
        pairs: (P, 2) int32 items, see ``data.dataset.cooccurring_pairs``.
        codes: (N, L).

    Returns:
        ``together``, and ``by_chance`` for independent partners with the same frequencies, in
        [0, 1]; None without pairs.
    """
    if not len(pairs):
        return None
    first = codes[pairs, 0]  # (P, 2) level-0 codes
    size = int(first.max()) + 1
    left, right = (np.bincount(first[:, side], minlength=size) for side in (0, 1))  # (K,) each
    return {
        "together": float((first[:, 0] == first[:, 1]).mean()),
        "by_chance": float((left / len(pairs)) @ (right / len(pairs))),
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
