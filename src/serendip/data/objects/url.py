"""Opens an object store by its URL."""

from __future__ import annotations

from pathlib import Path

from serendip.data.objects.bucket import Bucket
from serendip.data.objects.object_store import ObjectStore
from serendip.data.objects.shared_folder import SharedFolder


def open_object_store(url: str) -> ObjectStore:
    """Open a place by its URL; nothing is read yet.

    Args:
        url: ``s3://bucket/prefix``, ``gs://bucket/prefix``, or the path of a folder that all
            machines mount.

    Raises:
        ConfigError: there is no such kind of place, or it cannot be used.
        ExtraMissing: the package for buckets is not installed.
    """
    if "://" in url and not url.startswith("file://"):
        return Bucket.open(url)
    return SharedFolder(Path(url.removeprefix("file://")).absolute())
