"""Opens an object store by its URL."""

from __future__ import annotations

from pathlib import Path

from serendip.data.objects.bucket import Bucket
from serendip.data.objects.object_store import ObjectStore
from serendip.data.objects.shared_folder import SharedFolder
from serendip.errors import ConfigError


def open_object_store(url: str) -> ObjectStore:
    """Open a place by its URL; nothing is read yet.

    Args:
        url: ``s3://bucket/prefix``, ``gs://bucket/prefix``, or the path of a folder that all
            machines mount, from the root.

    Raises:
        ConfigError: there is no such kind of place, it cannot be used, or a path is relative.
        ExtraMissing: the package for buckets is not installed.
    """
    if "://" in url and not url.startswith("file://"):
        return Bucket.open(url)
    folder = Path(url.removeprefix("file://"))
    if not folder.is_absolute():
        raise ConfigError(
            f"{url!r} is no place that can be used: it depends on the folder of the process.",
            "Give the whole path of the folder.",
        )
    return SharedFolder(folder)
