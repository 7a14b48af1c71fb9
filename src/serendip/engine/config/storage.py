"""``[storage]``: where generations lie that several machines share."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from serendip.config import Config
from serendip.runtime.sync import Place, SharedFolder, Storage


class StorageConfig(Config):
    """``[storage]``: where generations lie that several machines share."""

    url: str = ""
    """`s3://bucket/prefix`, `gs://bucket/prefix`, or the whole path of a folder that all machines
    mount. Credentials come from the environment. The folder `generations` of the workspace then has
    checksummed copies. Empty = it is the only place."""

    def place(self, folder: Path) -> Place:
        """Where the generations of a folder lie.

        Raises:
            ConfigError: the URL cannot be used.
        """
        return _open(folder, self.url) if self.url else folder


@lru_cache
def _open(folder: Path, url: str) -> SharedFolder:
    """One client of a place for a whole process: it keeps connections open."""
    return SharedFolder(folder, Storage(url))
