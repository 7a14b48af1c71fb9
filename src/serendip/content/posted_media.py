"""Pictures and sounds of items that were posted since the training: what encoding them gave.

A process beside the service encodes the files (``engine.media_encoding``) and writes here; engines
read here when an item is posted or changed. The database is in the cache: it may be deleted at any
time, and the files are encoded again after the next start.

Shapes: M items, D vector size of a modality.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from serendip.content.config import ContentConfig
from serendip.content.encoders.media_files import find_media_file
from serendip.content.fusion import Fusion
from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.items.catalogue import Item
from serendip.data.items.features import ModalityVectors
from serendip.errors import DataError, StorageError

if TYPE_CHECKING:
    from serendip.data.store.base import Database

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A file of an item that cannot be used.

    Args:
        item_id: external id.
        field: item attribute with the path.
        problem: why it cannot be used, one sentence.
    """

    item_id: str
    field: str
    problem: str


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFile:
    """What encoding one file of an item gave.

    Args:
        item_id: external id.
        modality: ``image`` or ``audio``.
        file: path as the item names it.
        encoder: name of the encoder in the settings.
        vector: (D,) float32; None = the file cannot be used.
        problem: why it cannot be used; empty = it can.
        is_announced: whether engines were told.
    """

    item_id: str
    modality: str
    file: str
    encoder: str
    vector: FloatArray | None
    problem: str = ""
    is_announced: bool = False

    def equals(self, other: EncodedFile | None) -> bool:
        """Whether the same file gave the same result."""
        if other is None or (self.vector is None) != (other.vector is None):
            return False
        same_vector = self.vector is None or np.array_equal(self.vector, other.vector)  # type: ignore[arg-type]
        names = (self.file, self.encoder, self.problem)
        return bool(same_vector) and names == (other.file, other.encoder, other.problem)


class PostedMediaTable:
    """The database of encoded files.

    Args:
        database: with the table of ``posted_media_table``.
    """

    def __init__(self, database: Database) -> None:
        from serendip.content import posted_media_table

        self._database, self._sql = database, posted_media_table
        self._upsert = posted_media_table.upsert(database.dialect)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Open the database, created if missing.

        Raises:
            StorageError: it cannot be opened.
        """
        from serendip.content.posted_media_table import METADATA
        from serendip.data.store.database import database_with_tables

        path.parent.mkdir(parents=True, exist_ok=True)
        return cls(database_with_tables(path, METADATA))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing database.

        Raises:
            StorageError: it is missing or cannot be opened.
        """
        from serendip.content.posted_media_table import METADATA
        from serendip.data.store.database import database_with_tables

        return cls(database_with_tables(path, METADATA))

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def put(self, files: Sequence[EncodedFile]) -> None:
        """Store results, durably when this returns; a newer one of an item's modality counts.

        Raises:
            StorageError: they cannot be written.
        """
        rows = [
            {
                "item_id": file.item_id,
                "modality": file.modality,
                "file": file.file,
                "encoder": file.encoder,
                "vector": None if file.vector is None else file.vector.astype("<f4").tobytes(),
                "problem": file.problem,
                "announced": False,
            }
            for file in files
        ]
        with self._database.write() as connection:
            if rows:
                connection.execute(self._upsert, rows)

    def announce(self, item_ids: Sequence[str]) -> None:
        """Record that engines were told of the results of these items.

        Raises:
            StorageError: it cannot be written.
        """
        with self._database.write() as connection:
            connection.execute(self._sql.ANNOUNCE, {"items": list(item_ids)})

    def remove(self, item_id: str) -> None:
        """Remove the results of an item, and their bytes.

        Raises:
            StorageError: the database cannot be written to.
        """
        with self._database.write() as connection:
            connection.execute(self._sql.REMOVE, {"item": item_id})
        self._database.scrub()

    def find(self, item_ids: Sequence[str]) -> dict[tuple[str, str], EncodedFile]:
        """(item_id, modality) -> what encoding the item's file gave last.

        Raises:
            StorageError: the database cannot be read.
        """
        with self._database.read() as connection:
            rows = connection.execute(self._sql.FIND, {"items": list(item_ids)}).all()
        return {
            (item_id, modality): EncodedFile(
                item_id,
                modality,
                file,
                encoder,
                None if vector is None else np.frombuffer(vector, "<f4").astype(np.float32),
                problem,
                is_announced,
            )
            for item_id, modality, file, encoder, vector, problem, is_announced in rows
        }


class PostedMedia:
    """What engines read of the files of posted items.

    Args:
        path: of the database; nothing is read while it does not exist.
        content: names the modalities.
        folder: the workspace, in which the files are.
    """

    def __init__(self, path: Path, content: ContentConfig, folder: Path) -> None:
        self._path, self._content, self._folder = path, content, folder
        self._table: PostedMediaTable | None = None

    def close(self) -> None:
        """Close the database if it is open."""
        if self._table is not None:
            self._table.close()

    def find_problems(self, items: Iterable[Item]) -> list[FileProblem]:
        """Files of items that cannot be used, as far as is seen without opening them."""
        problems = []
        for item in items:
            for name, (file, _) in self._named(item).items():
                config = self._content.media[name]
                try:
                    find_media_file(self._folder, file, config.max_bytes)
                except DataError as error:
                    problems.append(FileProblem(item.item_id, config.field, error.message))
        return problems

    def of_item(self, item: Item) -> dict[str, EncodedFile | None]:
        """Modality -> what encoding the file that the item names gave; None = not encoded yet."""
        found = self._find([item])[0]
        return {name: found.get(name) for name in self._named(item)}

    def encode(
        self, items: Sequence[Item], fusion: Fusion
    ) -> tuple[dict[str, ModalityVectors], BoolArray]:
        """Vectors of the files of items that were encoded.

        Args:
            items: M items.
            fusion: names the modalities that are fused, and the size of their vectors.

        Returns:
            modality -> vectors and mask; and the mask (M,) of the items that name files of which
            all were encoded, or could not be.
        """
        if not fusion.blocks:
            return {}, np.zeros(len(items), np.bool_)
        found, vectors = self._find(items), {}
        for name in self._content.media:
            block = fusion.blocks.get(name)
            if block is not None:
                vectors[name] = _stack([files.get(name) for files in found], len(block.mean))
        is_complete = [
            bool(files) and set(files) == set(self._named(item))
            for item, files in zip(items, found, strict=True)
        ]
        return vectors, np.array(is_complete, np.bool_)

    def _named(self, item: Item) -> dict[str, tuple[str, str]]:
        """Modality -> (file, encoder) of the files that an item names."""
        files = {
            name: (item.field_text(config.field).strip(), config.encoder)
            for name, config in self._content.media.items()
        }
        return {name: pair for name, pair in files.items() if pair[0]}

    def _find(self, items: Sequence[Item]) -> list[dict[str, EncodedFile]]:
        """Results for each item that are of its files and of the configured encoders."""
        named = [self._named(item) for item in items]
        ids = [item.item_id for item, files in zip(items, named, strict=True) if files]
        stored = self._read(ids) if ids else {}
        return [
            {
                name: file
                for name, pair in files.items()
                if (file := stored.get((item.item_id, name))) and (file.file, file.encoder) == pair
            }
            for item, files in zip(items, named, strict=True)
        ]

    def _read(self, ids: Sequence[str]) -> Mapping[tuple[str, str], EncodedFile]:
        """Stored results; none, and a warning in the log, if the database cannot be read."""
        if self._table is None and not self._path.exists():
            return {}
        try:
            self._table = self._table or PostedMediaTable.open(self._path)
            return self._table.find(ids)
        except StorageError as error:
            _log.warning("posted items are shown by their texts alone: %s", error)
            return {}


NO_POSTED_MEDIA = PostedMedia(Path(), ContentConfig(), Path())
"""Of settings without pictures and sounds."""


def _stack(files: Sequence[EncodedFile | None], size: int) -> ModalityVectors:
    """Vectors (M, size) of files; those of another encoder's size are missing."""
    vectors, present = np.zeros((len(files), size), np.float32), np.zeros(len(files), np.bool_)
    for row, file in enumerate(files):
        if file is not None and file.vector is not None and len(file.vector) == size:
            vectors[row], present[row] = file.vector, True
    return ModalityVectors(vectors, present)
