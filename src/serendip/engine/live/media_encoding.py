"""Encodes the pictures and sounds of posted items, in a process that runs while there are any.

A posted item is found by its text at once. A service sees that items were posted and starts a
process: the networks need PyTorch, which no service loads, and a file that breaks a decoder ends no
service. It encodes the files that the items name into the vector cache, and then gives the items a
new version: so every engine reads them again, as it reads any change, and fuses what training would
have fused. A file notes up to which version this was done.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from serendip.content.config import open_media
from serendip.content.encoders.media_files import Media
from serendip.content.posted_media import PostedMedia
from serendip.data import Item
from serendip.data.store.store import Store
from serendip.engine.artefacts.generations import ITEM_VERSION, open_current
from serendip.engine.workspace import Workspace
from serendip.errors import LockedError, SerendipError
from serendip.runtime.atomic_files import exclusive_lock, is_locked
from serendip.runtime.progress import SilentProgress

_log = logging.getLogger(__name__)

# Seconds between two looks for posted items, and of waiting for more.
_POLL_S, _LINGER_S = 0.2, 10.0
_AT_ONCE = 8  # items that are encoded before their vectors are in use
_LOCKED = "posted-media"  # folder in the cache whose lock the process holds
NICE = 5  # requests come first; but the files of a posted item are awaited, too


class PostedMediaEncoder:
    """Encodes the files of items that were posted since the generation in force was trained."""

    def __init__(self, workspace: Workspace, store: Store) -> None:
        manifest = open_current(workspace.generations, verify=False).manifest
        content, folder = workspace.settings.content, workspace.folder
        self._store = store
        self._media = open_media(content, folder)
        self._posted = PostedMedia.of(content, folder, workspace.cache, manifest)
        self._version = int(manifest[ITEM_VERSION])

    def encode_posted(self) -> int:
        """Encode the files of items posted since the last call; the number of changed items.

        Raises:
            StorageError: a database cannot be read or written; the next call tries again.
            ExtraMissing: a package of an encoder is not installed.
        """
        changed = 0
        while self._store.max_version() > self._version:
            changes = self._store.item_changes(self._version, with_imports=False)
            items = [item for item in changes.items if item.item_id not in changes.deleted]
            version = changes.version
            for begin in range(0, len(items), _AT_ONCE):
                if done := self._encode(items[begin : begin + _AT_ONCE]):
                    version = self._store.touch_items(done, version)
                    changed += len(done)
            self._version = version
            self._posted.set_version(self._version)
        return changed

    def _encode(self, items: list[Item]) -> list[str]:
        before = self._posted.count_encoded(items)
        named = [len(self._posted.named(item)) for item in items]
        if not (before < named).any():
            return []
        for name, source in self._media.items():
            self._encode_files(items, name, source)
        is_new = self._posted.count_encoded(items) > before
        return [item.item_id for item, new in zip(items, is_new.tolist(), strict=True) if new]

    def _encode_files(self, items: list[Item], name: str, source: Media) -> None:
        report = source.encode(items, self._posted.cache, SilentProgress(), name)[1]
        if report.left_out:  # ids and file names are of clients: answers about the items tell them
            _log.warning("posted items without %s: %s", name, report.message)


def may_encode(posted: PostedMedia, manifest: Mapping[str, Any], version: int) -> bool:
    """Whether items were posted whose files nobody encodes.

    ``posted`` is what engines read of the files, ``version`` that of the items.
    """
    done = max(int(manifest[ITEM_VERSION]), posted.version)
    return version > done and not is_locked(posted.cache.folder / _LOCKED)


def encode_posted_media(folder: str) -> None:
    """Encode the files of posted items, in a process of its own, until none came for a while."""
    workspace = Workspace.open(Path(folder))
    try:
        with exclusive_lock(workspace.cache / _LOCKED), closing(workspace.open_store()) as store:
            encoder = PostedMediaEncoder(workspace, store)
            ends_at = time.monotonic() + _LINGER_S
            while time.monotonic() < ends_at:
                if encoder.encode_posted():
                    ends_at = time.monotonic() + _LINGER_S
                time.sleep(_POLL_S)
    except LockedError:
        _log.debug("another process encodes pictures and sounds of posted items")
    except (SerendipError, OSError) as error:
        _log.error("pictures and sounds of posted items are not encoded: %s", error)
        sys.exit(1)
