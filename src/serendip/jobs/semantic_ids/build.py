"""``serendip ids build``: builds semantic IDs, extends them by new items, or refits them.

Without ``refit``, codebooks and fusion are frozen: only new items and items with changed content
are assigned codes. A refit is initialised with the previous codebooks, and the new codes are
renumbered to match the previous ones.
"""

from __future__ import annotations

import hashlib
import logging
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
from serendip.data.items.catalogue import Catalogue
from serendip.data.items.features import ModalityVectors
from serendip.data.items.semantic_ids import Codebooks, places_in_groups
from serendip.errors import ConfigError, LockedError
from serendip.jobs.context import JobContext
from serendip.jobs.semantic_ids.versions import (
    CodedItems,
    IdUpdate,
    IdVersion,
    current_version,
    require_current,
)
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.extras import require_training

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CodeSource:
    """Input of semantic IDs.

    Args:
        dataset: snapshot of the store.
        encoded: modality -> vectors of the items.
        made_from: settings and encoders, for the manifest.
    """

    dataset: Dataset
    encoded: Mapping[str, ModalityVectors]
    made_from: Mapping[str, Any]


def build_ids(context: JobContext, refit: bool = False) -> tuple[IdVersion, bool]:
    """Build the first version, or a new one if items have changed since the current one.

    Args:
        context: items, settings, seed and encoders.
        refit: fit the codebooks again; a current version that is damaged is left out of account.

    Returns:
        the current version, and whether it is new.

    Raises:
        ArtefactError: a file of the current version is missing or altered, and nothing is refitted.
        DataError: the catalogue is empty.
        ConfigError: the settings differ from those of the current version.
        ExtraMissing: a package of the extra ``train`` is not installed.
        LockedError: another process is building semantic IDs.
    """
    require_training()
    workspace = context.workspace
    with exclusive_lock(workspace.semantic_ids):
        source = read_source(context)
        update = IdUpdate.begin(workspace.semantic_ids, refit)
        current = update.current
        if current is None or refit:
            return _fit_version(context, source, update), True
        _require_same_settings(source, current)
        content = current.fusion.encode(source.encoded)
        items, changed = extend_items(
            current.items, source.dataset.catalogue.vocabulary.ids, content, current.codebooks
        )
        if not any(changed.values()):
            return current, False
        fusion = current.fusion
        return _publish(update, source, current.codebooks, fusion, items, changed), True


def extend_built_ids(context: JobContext) -> IdVersion | None:
    """Extend the built IDs by new items, for a training; None = none were built.

    While somebody else builds IDs, those in force are taken as they are: a training assigns codes
    to the items that these lack.

    Args:
        context: as for ``build_ids``.

    Raises:
        ArtefactError: a file of the current version is missing or altered.
        ConfigError: the settings differ from those of the current version.
    """
    folder = context.workspace.semantic_ids
    if current_version(folder) is None:
        return None
    try:
        return build_ids(context)[0]
    except LockedError as error:
        current = require_current(folder)
        _require_same_settings(read_source(context), current)
        _log.warning("%s of the semantic IDs is used as it is: %s", current.name, error.message)
        return current


def read_source(context: JobContext) -> CodeSource:
    """Encode all items of the snapshot, with the vector cache.

    Raises:
        DataError: the catalogue is empty.
    """
    dataset, settings = context.require_items(), context.settings
    content, encoder, media = settings.content, context.encoder, context.media
    items = dataset.catalogue.items
    encoded = encode_items(items, encoder, context.vectors, content.fields, media, context.options)
    encoders: dict[str, TextEncoder | MediaEncoder] = {"text": encoder}
    encoders.update((name, modality.encoder) for name, modality in media.items())
    made_from = {
        "semantic_ids": settings.semantic_ids.model_dump(mode="json"),
        "content": content.model_dump(mode="json"),
        "encoders": {
            name: {"name": encoder.name, "version": encoder.version}
            for name, encoder in encoders.items()
        },
    }
    return CodeSource(dataset, encoded, made_from)


def extend_items(
    previous: CodedItems, ids: tuple[str, ...], content: FloatArray, codebooks: Codebooks
) -> tuple[CodedItems, dict[str, int]]:
    """Update coded items to the catalogue: new items are coded, unchanged ones keep their IDs.

    Args:
        previous: items of the previous version.
        ids: N items of the catalogue.
        content: (N, D) content vectors.
        codebooks: frozen.

    Returns:
        the items, and the numbers of items that are ``new``, ``recoded`` (other content and other
        codes), ``gone`` from the catalogue or ``back`` in it.
    """
    row_of = previous.row_of()
    rows = np.array([row_of.get(name, -1) for name in ids], np.int64)
    new_digests = hash_rows(content)
    is_new = rows < 0
    rows[is_new] = len(previous.ids) + np.arange(is_new.sum())
    total = len(previous.ids) + int(is_new.sum())
    codes = _extend(previous.codes, total, 0)
    digests = _extend(previous.digests, total, 0)
    is_changed = is_new | (digests[rows] != new_digests)
    codes[rows[is_changed]] = codebooks.assign(content[is_changed])
    old = slice(0, len(previous.ids))
    recoded = (codes[old] != previous.codes).any(1)
    places = _extend(previous.places, total, -1)
    places[old][recoded] = -1
    digests[rows] = new_digests
    listed = np.zeros(total, np.bool_)
    listed[rows] = True
    items = CodedItems(
        (*previous.ids, *(name for name, new in zip(ids, is_new, strict=True) if new)),
        codes,
        places_in_groups(codes, places),
        digests,
        listed,
    )
    counts = {
        "new": int(is_new.sum()),
        "recoded": int(recoded.sum()),
        "gone": int((previous.listed & ~listed[old]).sum()),
        "back": int((~previous.listed & listed[old]).sum()),
    }
    return items, counts


def hash_rows(content: FloatArray) -> NDArray[np.uint64]:
    """(N,) uint64 hashes of the rows, to detect changed content."""
    hashes = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in content)
    return np.frombuffer(hashes, dtype=np.uint64)


def compare_codes(new: IntArray, old: IntArray) -> list[float]:
    """Per level, the share of items with the same code; last, the share with the same ID.

    Args:
        new: (M, L) codes.
        old: (M, L') codes of the same items; the result is empty if L' is not L.
    """
    if not len(new) or new.shape != old.shape:
        return []
    same = new == old
    return [*map(float, same.mean(0)), float(same.all(1).mean())]


def _fit_version(context: JobContext, source: CodeSource, update: IdUpdate) -> IdVersion:
    """Fit fusion and codebooks and publish a version, matched to the current one if any."""
    settings, options, current = context.settings, context.options, update.current
    fusion = Fusion.fit(source.encoded, settings.content.fusion)
    content = fusion.encode(source.encoded)
    config = settings.semantic_ids
    pairs = cooccurring_pairs(source.dataset.events)
    start = current.codebooks if current else None
    codebooks, codes = fit_codebooks(content, config, pairs, options, fusion.columns, start)
    ids = source.dataset.catalogue.vocabulary.ids
    places = np.full(len(ids), -1, np.int32)
    facts: dict[str, Any] = {"new": len(ids)}
    if current is not None:
        row_of = current.items.row_of()
        shared = np.array([index for index, name in enumerate(ids) if name in row_of], np.int64)
        rows = np.array([row_of[ids[index]] for index in shared], np.int64)
        before = current.items.codes[rows]
        codebooks, numbers = match_codebooks(codebooks, codes[shared], current.codebooks, before)
        codes = renumber(codes, numbers)
        if codes.shape[1] == before.shape[1]:
            same = (codes[shared] == before).all(1)
            places[shared[same]] = current.items.places[rows[same]]
        facts = {"new": len(ids) - len(shared), "kept": compare_codes(codes[shared], before)}
    listed = np.ones(len(ids), np.bool_)
    places = places_in_groups(codes, places)
    items = CodedItems(ids, codes, places, hash_rows(content), listed)
    return _publish(update, source, codebooks, fusion, items, {"refit": True, **facts})


def _publish(
    update: IdUpdate,
    source: CodeSource,
    codebooks: Codebooks,
    fusion: Fusion,
    items: CodedItems,
    changes: Mapping[str, Any],
) -> IdVersion:
    """Publish a version with the names and quality of its codes."""
    fields = source.made_from["content"]["fields"]
    codes = select_codes(items, source.dataset.catalogue)
    names = name_prefixes(source.dataset.catalogue, codes, fields, levels=codes.shape[1])
    facts = {
        "made_from": source.made_from,
        "changes": changes,
        "quality": asdict(measure_code_quality(codes, codebooks.codebook_size)),
    }
    return update.publish(codebooks, fusion, items, names, facts)


def select_codes(items: CodedItems, catalogue: Catalogue) -> IntArray:
    """Codes (N, L) of the items of a catalogue, all of which must be coded."""
    row_of = items.row_of()
    return items.codes[[row_of[name] for name in catalogue.vocabulary.ids]]


def _require_same_settings(source: CodeSource, current: IdVersion) -> None:
    """Raise an error if settings or encoders differ from those of a version."""
    before = current.manifest["made_from"]
    for part, value in source.made_from.items():
        if before[part] != value:
            raise ConfigError(
                f"`{part}` has changed since {current.name} of the semantic IDs was built: "
                f"{_describe_change(before[part], value)}.",
                "Restore the old value, or run `serendip ids build --refit`.",
            )


def _describe_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = sorted({*before, *now})
    key = next(key for key in keys if before.get(key) != now.get(key))
    return f"{key} was {before.get(key)!r}, now {now.get(key)!r}"


def _extend(array: NDArray[Any], count: int, filler: int) -> NDArray[Any]:
    """A copy with ``count`` rows; the appended ones are filled with ``filler``."""
    extended = np.full((count, *array.shape[1:]), filler, dtype=array.dtype)
    extended[: len(array)] = array
    return extended
