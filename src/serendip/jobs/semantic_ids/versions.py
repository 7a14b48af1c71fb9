"""Stores versions of semantic IDs: immutable folders, one of which is current.

Layout of a workspace's ``semantic_ids/``::

    v2/codebooks.safetensors   centroids, and the alignment if vectors are aligned
    v2/fusion.safetensors      fusion of the modalities, if there are several
    v2/codes.parquet           item_id, codes, number among the items with the same codes
    v2/names.json              code prefix -> readable name
    v2/manifest.json           written last: config, encoders, parent, stability, SHA-256s
    current                    one line, the name of the current version

See ``runtime.versions`` for durability. Versions are small; old ones are not deleted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.content.fusion import TEXT_ONLY, Fusion
from serendip.data.arrays import BoolArray, IntArray
from serendip.data.items.semantic_ids import Codebooks
from serendip.errors import ArtefactError, DataError, NotTrainedError
from serendip.runtime.versions import Version, Versions

_log = logging.getLogger(__name__)

_CODEBOOKS, _FUSION = "codebooks.safetensors", "fusion.safetensors"
_CODES, _NAMES = "codes.parquet", "names.json"


@dataclass(frozen=True, slots=True, eq=False)
class CodedItems:
    """Items and their full IDs, in the order of their first coding.

    Args:
        ids: N external ids.
        codes: (N, L) int32.
        places: (N,) int32, distinct among items with the same codes.
        digests: (N,) uint64 hashes of the coded vectors.
        listed: (N,) bool; False = no longer in the catalogue. Its ID is not reused.
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
    """An open version.

    Args:
        name: ``v<n>``.
        manifest: content of ``manifest.json``.
        items: with their codes.
        names: code prefix (``12`` or ``12-7``) -> readable name.
    """

    name: str
    manifest: Mapping[str, Any]
    codebooks: Codebooks
    fusion: Fusion
    items: CodedItems
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class IdUpdate:
    """A build of semantic IDs, which replaces the version that it read and no other one.

    Args:
        versions: all of them.
        current: the version that is replaced; None = there is none, or none that can be read.
    """

    versions: Versions
    current: IdVersion | None

    @classmethod
    def begin(cls, folder: Path, refit: bool = False) -> Self:
        """Read the current version; the caller holds the folder's lock until it has published.

        Args:
            folder: of the versions.
            refit: go on without the current version if that is damaged.

        Raises:
            ArtefactError: a file of it is missing or altered.
        """
        versions = id_versions(folder)
        try:
            version = versions.current()
        except ArtefactError as error:
            if not refit:
                raise
            _log.warning("all IDs are new, as the current ones cannot be read: %s", error.message)
            version = None
        return cls(versions, None if version is None else _read(version))

    def publish(
        self,
        codebooks: Codebooks,
        fusion: Fusion,
        items: CodedItems,
        names: Mapping[str, str],
        facts: Mapping[str, Any],
    ) -> IdVersion:
        """Write a version and make it current.

        Args:
            codebooks: of the version.
            fusion: of the version.
            items: with their codes.
            names: of code prefixes.
            facts: for the manifest, besides format, name, parent and checksums.
        """

        def write(building: Path) -> None:
            codebooks.save(building / _CODEBOOKS)
            if fusion.blocks:
                fusion.save(building / _FUSION)
            _write_items(building / _CODES, items)
            text = json.dumps(dict(names), indent=1, ensure_ascii=False)
            (building / _NAMES).write_text(text, encoding="utf-8")

        parent = self.current.name if self.current else None
        version = self.versions.publish(write, {"parent": parent, **facts})
        return IdVersion(version.name, version.manifest, codebooks, fusion, items, names)


def current_version(folder: Path) -> IdVersion | None:
    """The current version; None if no IDs were built."""
    version = id_versions(folder).current()
    return None if version is None else _read(version)


def require_current(folder: Path) -> IdVersion:
    """The current version.

    Raises:
        NotTrainedError: no IDs were built.
    """
    version = current_version(folder)
    if version is None:
        message = f"{folder} has no semantic IDs."
        raise NotTrainedError(message, "Run `serendip ids build` first.")
    return version


def open_version(folder: Path, name: str) -> IdVersion:
    """Open a version and verify its files against its manifest.

    Raises:
        DataError: there is no such version.
        ArtefactError: its manifest is unreadable, or a file is missing or altered.
    """
    versions = id_versions(folder)
    names = versions.names()
    if name not in names:
        raise DataError(
            f"there is no version {name!r} of the semantic IDs.",
            f"Use one of {', '.join(names)}." if names else "Run `serendip ids build` first.",
        )
    return _read(versions.open(name))


def _read(version: Version) -> IdVersion:
    path = version.folder
    fusion = Fusion.open(path / _FUSION) if (path / _FUSION).is_file() else TEXT_ONLY
    prefix_names = json.loads((path / _NAMES).read_text(encoding="utf-8"))
    codebooks = Codebooks.open(path / _CODEBOOKS)
    items = _read_items(path / _CODES)
    return IdVersion(version.name, version.manifest, codebooks, fusion, items, prefix_names)


def id_versions(folder: Path) -> Versions:
    """All versions of semantic IDs."""
    hint = "Restore its files, or run `serendip ids build --refit`."
    return Versions(folder, hint, format=1)


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
