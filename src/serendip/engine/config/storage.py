"""``[storage]``: where generations and the event log lie that several machines share."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import Field

from serendip.config import Config
from serendip.data.objects.mirror import Mirror, Place
from serendip.data.objects.object_store import ObjectStore
from serendip.data.objects.url import open_object_store

_GIB = 1 << 30


class StorageConfig(Config):
    """``[storage]``: where generations and the event log lie that several machines share."""

    url: str = ""
    """`s3://bucket/prefix`, `gs://bucket/prefix`, or the whole path of a folder that all machines
    mount. Credentials come from the environment. The folders `generations`, `log`, `semantic_ids`,
    `relevance` and `queries` of the workspace then have checksummed copies. Empty = they are the
    only place."""

    copies_gib: float | None = Field(default=None, gt=0)
    """Limit of the copies of generations on this machine, in GiB; the oldest go first, and those in
    force always stay. None = as many as the storage has."""

    def place(self, workspace: Path, name: str, copies_gib: float | None = None) -> Place:
        """Where the content of a folder of the workspace lies.

        Args:
            workspace: its folder.
            name: of the folder in it, and in the storage.
            copies_gib: limit of the copies of this folder, in GiB; None = no limit.

        Raises:
            ConfigError: the URL cannot be used.
            ExtraMissing: the package for buckets is not installed.
        """
        if not self.url:
            return workspace / name
        most = None if copies_gib is None else int(copies_gib * _GIB)
        return Mirror(workspace / name, _open(self.url).within(name), most)


@lru_cache
def _open(url: str) -> ObjectStore:
    """One client of a place for a whole process: it keeps connections open."""
    return open_object_store(url)
