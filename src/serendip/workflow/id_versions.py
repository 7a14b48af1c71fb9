"""Versions of semantic IDs: immutable folders, one of them current.

Layout of a workspace's ``semantic_ids/``::

    v2/codebooks.safetensors   centroids, and the alignment where vectors are aligned
    v2/fusion.safetensors      how modalities become one vector, where there are several
    v2/codes.parquet           item_id, its codes, its place among items of equal codes
    v2/names.json              code prefix -> readable name
    v2/manifest.json           written last: config, encoders, parent, stability, SHA-256s
    current                    one line, the name of the current version

A version is written aside, flushed and renamed, and only then does ``current`` name it: a crash at
any point leaves the old version or the new one. Versions are small and are all kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip import __version__
from serendip.content.fusion import TEXT_ONLY, Fusion
from serendip.data.arrays import BoolArray, IntArray
from serendip.data.durable import MANIFEST, checksums, pointed_at, publish_folder
from serendip.data.semantic_ids import Codebooks
from serendip.errors import ArtefactError, DataError, NotTrainedError

FORMAT = 1
POINTER = "current"

_BUILDING = ".building-"
_CODEBOOKS, _FUSION = "codebooks.safetensors", "fusion.safetensors"
_CODES, _NAMES = "codes.parquet", "names.json"


@dataclass(frozen=True, slots=True, eq=False)
class CodedItems:
    """Items and their full IDs, in the order in which they were first coded.

    Args:
        ids: N external ids.
        codes: (N, L) int32.
        places: (N,) int32, apart for items of equal codes.
        digests: (N,) uint64 of the vectors that were coded.
        listed: (N,) bool, False for items that have left the catalogue; their IDs stay taken.
    """

    ids: tuple[str, ...]
    codes: IntArray
    places: IntArray
    digests: NDArray[np.uint64]
    listed: BoolArray

    def row_of(self) -> dict[str, int]:
        """Item id -> row."""
        return {name: row for row, name in enumerate(self.ids)}


@dataclass(frozen=True, slots=True, eq=False)
class IdVersion:
    """One version, opened.

    Args:
        name: ``v<n>``.
        manifest: what its ``manifest.json`` says.
        codebooks: frozen.
        fusion: frozen, too.
        items: with their codes.
        names: code prefix (``12`` or ``12-7``) -> readable name.
    """

    name: str
    manifest: Mapping[str, Any]
    codebooks: Codebooks
    fusion: Fusion
    items: CodedItems
    names: Mapping[str, str]


def publish_version(
    folder: Path,
    codebooks: Codebooks,
    fusion: Fusion,
    items: CodedItems,
    names: Mapping[str, str],
    facts: Mapping[str, Any],
) -> IdVersion:
    """Write a version and make it current; the caller holds the folder's lock.

    Args:
        folder: ``semantic_ids`` of a workspace.
        codebooks: of the version.
        fusion: of the version.
        items: with their codes.
        names: of code prefixes.
        facts: what the manifest says beside format, name, parent and checksums.
    """
    for leftover in folder.glob(f"{_BUILDING}*"):
        shutil.rmtree(leftover)
    name = f"v{max((_number(path.name) for path in folder.glob('v*')), default=0) + 1}"
    building = folder / f"{_BUILDING}{name}"
    building.mkdir(parents=True)
    codebooks.save(building / _CODEBOOKS)
    if fusion.blocks:
        fusion.save(building / _FUSION)
    _write_items(building / _CODES, items)
    text = json.dumps(dict(names), indent=1, ensure_ascii=False)
    (building / _NAMES).write_text(text, encoding="utf-8")
    told = {
        "format": FORMAT,
        "name": name,
        "parent": pointed_at(folder / POINTER) or None,
        "code_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
    }
    manifest = publish_folder(building, name, folder / POINTER, told)
    return IdVersion(name, manifest, codebooks, fusion, items, names)


def current_version(folder: Path) -> IdVersion | None:
    """The current version; None where IDs were never built."""
    name = pointed_at(folder / POINTER)
    return open_version(folder, name) if name else None


def require_current(folder: Path) -> IdVersion:
    """The current version.

    Raises:
        NotTrainedError: IDs were never built.
    """
    version = current_version(folder)
    if version is None:
        raise NotTrainedError(f"{folder} has no semantic IDs.", "Run `serendip ids build` first.")
    return version


def open_version(folder: Path, name: str) -> IdVersion:
    """Read a version and check every file against its manifest.

    Raises:
        DataError: there is no such version.
        ArtefactError: its manifest is not readable, or a file is missing or altered.
    """
    place = folder / name
    if not _number(name) or not place.is_dir():
        known = sorted((p.name for p in folder.glob("v*") if _number(p.name)), key=_number)
        raise DataError(f"there is no version {name!r}.", f"Known: {', '.join(known) or 'none'}.")
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        expected = manifest["files"]
        version = manifest["format"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{place / MANIFEST} is not readable: {error}.") from None
    if version != FORMAT:
        raise ArtefactError(f"{place} has format {version}, this code reads {FORMAT}.")
    if checksums(place) != expected:
        raise ArtefactError(
            f"files of {place} are missing or altered.", "Restore them, or build with --refit."
        )
    fusion = Fusion.open(place / _FUSION) if _FUSION in expected else TEXT_ONLY
    names = json.loads((place / _NAMES).read_text(encoding="utf-8"))
    codebooks = Codebooks.open(place / _CODEBOOKS)
    return IdVersion(name, manifest, codebooks, fusion, _read_items(place / _CODES), names)


def _number(name: str) -> int:
    """2 of ``v2``; 0 for anything else."""
    digits = name.removeprefix("v")
    return int(digits) if name.startswith("v") and digits.isdecimal() else 0


def _write_items(path: Path, items: CodedItems) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    levels = {f"code_{level}": column for level, column in enumerate(items.codes.T)}
    columns = {
        "item_id": pa.array(items.ids, pa.string()),
        **levels,
        "place": items.places,
        "digest": items.digests,
        "listed": items.listed,
    }
    pq.write_table(pa.table(columns), path)


def _read_items(path: Path) -> CodedItems:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    levels = [name for name in table.column_names if name.startswith("code_")]
    codes = [table[name].to_numpy().astype(np.int32) for name in levels]
    return CodedItems(
        ids=tuple(table["item_id"].to_pylist()),
        codes=np.stack(codes, axis=1),
        places=table["place"].to_numpy().astype(np.int32),
        digests=table["digest"].to_numpy(),
        listed=table["listed"].to_numpy(zero_copy_only=False).astype(np.bool_),
    )
