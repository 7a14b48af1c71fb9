"""Pictures and sounds of items that were posted since the training.

A process beside the service encodes the files (``engine.live.media_encoding``) into the vector
cache; engines read them there when an item is posted or changed, by the content of the file and the
encoder that their generation was trained with. They load no network and open no picture for that.

Shapes: M items, D vector size of a modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.config import ContentConfig
from serendip.content.encoders.audio import AudioConfig
from serendip.content.encoders.base import EncoderIdentity, find_present
from serendip.content.encoders.image import ImageConfig
from serendip.content.encoders.media_files import FileProblem, find_media_files, list_problems
from serendip.content.fusion import Fusion
from serendip.data import BoolArray, IntArray, Item
from serendip.data.items.features import ModalityVectors
from serendip.runtime.atomic_files import write_text

# Fact of a manifest: modality -> identity of the encoder of its files.
MEDIA_ENCODERS = "media_encoders"
_VERSION_FILE = "posted_media.version"


@dataclass(frozen=True, slots=True)
class PostedMedia:
    """What engines read of the files of posted items.

    Args:
        encoders: modality -> identity of the encoder of the generation.
    """

    content: ContentConfig
    folder: Path
    cache: VectorCache
    encoders: Mapping[str, EncoderIdentity] = field(default_factory=dict)

    @classmethod
    def of(
        cls, content: ContentConfig, folder: Path, cache: Path, manifest: Mapping[str, Any]
    ) -> PostedMedia:
        """Of a workspace with a folder of cached vectors, and the manifest of a generation."""
        stored = manifest.get(MEDIA_ENCODERS, {})
        encoders = {name: EncoderIdentity(**identity) for name, identity in stored.items()}
        return cls(content, folder, VectorCache(cache), encoders)

    def find_problems(self, items: Sequence[Item]) -> list[FileProblem]:
        """Files of items that cannot be used, as far as is seen without opening them."""
        return [
            problem
            for config in self.content.media.values()
            for problem in list_problems(items, config.field, self._find_files(items, config)[1])
        ]

    def named(self, item: Item) -> list[str]:
        """Modalities of which an item names a file."""
        media = self.content.media.items()
        return [name for name, config in media if item.field_text(config.field).strip()]

    def encode(
        self, items: Sequence[Item], fusion: Fusion
    ) -> tuple[dict[str, ModalityVectors], BoolArray]:
        """Vectors of the files of items that were encoded.

        Returns:
            modality -> vectors and mask; and the mask (M,) of the items with any.
        """
        vectors = {name: self._find(items, name) for name in self.encoders if name in fusion.blocks}
        has_any = np.zeros(len(items), np.bool_)
        for found in vectors.values():
            has_any |= found.present
        return vectors, has_any

    def count_encoded(self, items: Sequence[Item]) -> IntArray:
        """(M,) number of files of each item that were encoded."""
        found = [self._find(items, name).present for name in self.encoders]
        return np.sum(found, axis=0, dtype=np.int32) if found else np.zeros(len(items), np.int32)

    @property
    def version(self) -> int:
        """Version of the store up to which files were encoded; 0 = not known."""
        with suppress(OSError, ValueError):
            return int(self._version_file.read_text(encoding="utf-8"))
        return 0

    def set_version(self, version: int) -> None:
        """Note up to which version of the store files are encoded, or cannot be."""
        write_text(self._version_file, str(version))

    @property
    def _version_file(self) -> Path:
        return self.cache.folder / _VERSION_FILE

    def _find(self, items: Sequence[Item], name: str) -> ModalityVectors:
        files: list[Path | None] = [None] * len(items)
        if name in self.content.media:
            files, _ = self._find_files(items, self.content.media[name])
        vectors, present = self.cache.find(self.encoders[name], files)
        return ModalityVectors(vectors, present & find_present(files))

    def _find_files(
        self, items: Sequence[Item], config: ImageConfig | AudioConfig
    ) -> tuple[list[Path | None], dict[int, str]]:
        return find_media_files(items, config.field, self.folder, config.max_bytes)


# No pictures, no sounds.
NO_POSTED_MEDIA = PostedMedia(ContentConfig(), Path(), VectorCache(Path()))
