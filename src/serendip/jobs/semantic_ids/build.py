"""``serendip ids``: semantic IDs built once, extended with what is new, refitted on demand.

Without ``refit`` nothing that is known changes: codebooks and fusion are frozen, only items that
are new or have other content are coded. A refit starts at the codebooks before it, and its codes
take the numbers of the codes that they resemble.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.content.encoders.base import MediaEncoder, TextEncoder
from serendip.content.features import encode_items
from serendip.content.fusion import Fusion
from serendip.content.semantic_ids.code_matching import match_codebooks, renumber
from serendip.content.semantic_ids.group_names import name_prefixes
from serendip.content.semantic_ids.kmeans import fit_codebooks, measure_code_quality
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset, cooccurring_pairs
from serendip.data.item import Catalogue
from serendip.data.item_features import ModalityVectors
from serendip.data.semantic_ids import Codebooks, places_in_groups
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.jobs.semantic_ids.versions import (
    CodedItems,
    IdVersion,
    current_version,
    publish_version,
)
from serendip.runtime.atomic_files import exclusive_lock


@dataclass(frozen=True, slots=True, eq=False)
class CodeSource:
    """What IDs are made from.

    Args:
        dataset: everything in the store.
        encoded: vectors of its items by modality.
        made_from: settings and encoders, as the manifest tells them.
    """

    dataset: Dataset
    encoded: Mapping[str, ModalityVectors]
    made_from: Mapping[str, Any]


def build_ids(context: JobContext, refit: bool = False) -> tuple[IdVersion, bool]:
    """Make the first version, or one with what has changed since the current one.

    Args:
        context: items, settings, seed and encoders.
        refit: fit codebooks again instead of keeping them.

    Returns:
        the current version, and whether it is a new one.

    Raises:
        DataError: the catalogue is empty.
        ConfigError: the settings are no longer those of the current version.
        StorageError: another process builds there now.
    """
    workspace = context.workspace
    with exclusive_lock(workspace.semantic_ids):
        source = read_source(context)
        current = current_version(workspace.semantic_ids)
        if current is None or refit:
            return _fitted(context, source, current), True
        _require_same_settings(source, current)
        content = current.fusion.encode(source.encoded)
        items, changed = extended(
            current.items, source.dataset.catalogue.vocabulary.ids, content, current.codebooks
        )
        if not any(changed.values()):
            return current, False
        fusion = current.fusion
        return _published(workspace, source, current.codebooks, fusion, items, changed), True


def read_source(context: JobContext) -> CodeSource:
    """Encode every item of the snapshot; known vectors come from the cache.

    Raises:
        DataError: the catalogue is empty.
    """
    dataset, settings = context.require_items(), context.settings
    content, encoder, media = settings.content, context.encoder, context.media
    items = dataset.catalogue.items
    encoded = encode_items(items, encoder, context.vectors, content.fields, media, context.options)
    encoders: dict[str, TextEncoder | MediaEncoder] = {"text": encoder}
    encoders.update((name, one.encoder) for name, one in media.items())
    made_from = {
        "semantic_ids": settings.semantic_ids.model_dump(mode="json"),
        "content": content.model_dump(mode="json"),
        "encoders": {
            name: {"name": one.name, "version": one.version} for name, one in encoders.items()
        },
    }
    return CodeSource(dataset, encoded, made_from)


def extended(
    known: CodedItems, ids: tuple[str, ...], content: FloatArray, codebooks: Codebooks
) -> tuple[CodedItems, dict[str, int]]:
    """Coded items after a look at the catalogue: known ones keep their IDs, new ones get one.

    Args:
        known: of the version before.
        ids: the items of the catalogue, N.
        content: (N, D) their vectors.
        codebooks: frozen.

    Returns:
        the items, and how many are ``new``, ``recoded`` (other content and other codes),
        ``gone`` from the catalogue or ``back`` in it.
    """
    row_of = known.row_of()
    rows = np.array([row_of.get(name, -1) for name in ids], np.int64)
    digests = digests_of(content)
    is_new = rows < 0
    rows[is_new] = len(known.ids) + np.arange(is_new.sum())
    total = len(known.ids) + int(is_new.sum())
    codes = _grown(known.codes, total, 0)
    before = _grown(known.digests, total, 0)
    other = is_new | (before[rows] != digests)
    codes[rows[other]] = codebooks.assign(content[other])
    old = slice(0, len(known.ids))
    recoded = (codes[old] != known.codes).any(1)
    kept = _grown(known.places, total, -1)
    kept[old][recoded] = -1
    before[rows] = digests
    listed = np.zeros(total, np.bool_)
    listed[rows] = True
    items = CodedItems(
        (*known.ids, *(name for name, new in zip(ids, is_new, strict=True) if new)),
        codes,
        places_in_groups(codes, kept),
        before,
        listed,
    )
    facts = {
        "new": int(is_new.sum()),
        "recoded": int(recoded.sum()),
        "gone": int((known.listed & ~listed[old]).sum()),
        "back": int((~known.listed & listed[old]).sum()),
    }
    return items, facts


def digests_of(content: FloatArray) -> NDArray[np.uint64]:
    """(N,) uint64 hashes of rows, by which changed items are told from unchanged ones."""
    hashes = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in content)
    return np.frombuffer(hashes, dtype=np.uint64)


def shares_kept(new: IntArray, old: IntArray) -> list[float]:
    """Per level the share of items (M, L) with the same code, then that of the same full codes."""
    if not len(new) or new.shape != old.shape:
        return []
    same = new == old
    return [*map(float, same.mean(0)), float(same.all(1).mean())]


def _fitted(context: JobContext, source: CodeSource, current: IdVersion | None) -> IdVersion:
    workspace, options = context.workspace, context.options
    fusion = Fusion.fit(source.encoded, workspace.settings.content.fusion)
    content = fusion.encode(source.encoded)
    config = workspace.settings.semantic_ids
    pairs = cooccurring_pairs(source.dataset.events)
    start = current.codebooks if current else None
    codebooks, codes = fit_codebooks(content, config, pairs, options, fusion.columns, start)
    ids = source.dataset.catalogue.vocabulary.ids
    places = np.full(len(ids), -1, np.int32)
    facts: dict[str, Any] = {"new": len(ids)}
    if current is not None:
        row_of = current.items.row_of()
        shared = np.array([at for at, name in enumerate(ids) if name in row_of], np.int64)
        rows = np.array([row_of[ids[at]] for at in shared], np.int64)
        before = current.items.codes[rows]
        codebooks, numbers = match_codebooks(codebooks, codes[shared], current.codebooks, before)
        codes = renumber(codes, numbers)
        if codes.shape[1] == before.shape[1]:
            same = (codes[shared] == before).all(1)
            places[shared[same]] = current.items.places[rows[same]]
        facts = {"new": len(ids) - len(shared), "kept": shares_kept(codes[shared], before)}
    listed = np.ones(len(ids), np.bool_)
    places = places_in_groups(codes, places)
    items = CodedItems(ids, codes, places, digests_of(content), listed)
    return _published(workspace, source, codebooks, fusion, items, {"refit": True, **facts})


def _published(
    workspace: Workspace,
    source: CodeSource,
    codebooks: Codebooks,
    fusion: Fusion,
    items: CodedItems,
    changes: Mapping[str, Any],
) -> IdVersion:
    fields = workspace.settings.content.fields
    codes = codes_of(items, source.dataset.catalogue)
    names = name_prefixes(source.dataset.catalogue, codes, fields, levels=codes.shape[1])
    facts = {
        "made_from": source.made_from,
        "changes": changes,
        "quality": asdict(measure_code_quality(codes, codebooks.codebook_size)),
    }
    return publish_version(workspace.semantic_ids, codebooks, fusion, items, names, facts)


def codes_of(items: CodedItems, catalogue: Catalogue) -> IntArray:
    """Codes (N, L) in the order of a catalogue, all of whose items are coded."""
    row_of = items.row_of()
    return items.codes[[row_of[name] for name in catalogue.vocabulary.ids]]


def _require_same_settings(source: CodeSource, current: IdVersion) -> None:
    before = current.manifest["made_from"]
    for part, value in source.made_from.items():
        if before[part] != value:
            raise ConfigError(
                f"`{part}` is not what {current.name} of the semantic IDs was made from: "
                f"{_difference(before[part], value)}.",
                "Set it back, or fit again with `serendip ids build --refit`.",
            )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = sorted({*before, *now})
    key = next(key for key in keys if before.get(key) != now.get(key))
    return f"{key} was {before.get(key)!r}, now {now.get(key)!r}"


def _grown(array: NDArray[Any], count: int, filler: int) -> NDArray[Any]:
    """A copy with rows of ``filler`` appended up to ``count``."""
    grown = np.full((count, *array.shape[1:]), filler, dtype=array.dtype)
    grown[: len(array)] = array
    return grown
