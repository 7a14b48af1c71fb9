"""``serendip ids report``: how good the current semantic IDs are, as JSON and as a page."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from serendip.content.semantic_ids.agreement import neighbour_agreement, pair_agreement
from serendip.content.semantic_ids.kmeans import quality
from serendip.data.arrays import IntArray
from serendip.data.dataset import cooccurring_pairs
from serendip.data.durable import write_durably
from serendip.data.item import Catalogue
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, DataError, UnknownItemError
from serendip.evaluate.report.page import render_codes_page
from serendip.scale.options import TrainOptions
from serendip.workflow.id_versions import IdVersion, require_current
from serendip.workflow.id_views import diff, largest_groups
from serendip.workflow.semantic_ids import Source, codes_of, read_source

REPORT_JSON, REPORT_HTML = "semantic-ids.json", "semantic-ids.html"
_EXAMPLES = 3


def report(workspace: Workspace, options: TrainOptions) -> dict[str, Any]:
    """Measure the current IDs and write ``reports/semantic-ids.{json,html}``.

    Raises:
        NotTrainedError: IDs were never built.
        UnknownItemError: items have no ID yet.
    """
    version = require_current(workspace.semantic_ids)
    source = read_source(workspace, options)
    _require_all_coded(version, source)
    document = {**_measured(version, source, options.seed), "kept": _kept(workspace, version)}
    workspace.reports.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    write_durably(workspace.reports / REPORT_JSON, text)
    write_durably(workspace.reports / REPORT_HTML, render_codes_page(document))
    return document


def _measured(version: IdVersion, source: Source, seed: int) -> dict[str, Any]:
    catalogue = source.dataset.catalogue
    codes = codes_of(version.items, catalogue)
    content = version.fusion.encode(source.encoded)
    size = version.codebooks.codebook_size
    measured = quality(codes, size)
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


def _require_all_coded(version: IdVersion, source: Source) -> None:
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
