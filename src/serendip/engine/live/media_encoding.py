"""Encodes the pictures and sounds of posted items, in a process that runs while there are any.

A posted item is found by its text at once. A thread of one process of a service sees that items
were posted and starts a process, as the networks need PyTorch, which no service loads. It encodes
the files that the items name, writes the vectors where engines read them, and then gives the items
a new version: so every engine reads them again, as it reads any change, and fuses what training
would have fused. A file notes up to which version this was done, so that the next process goes on
there; without it, it begins with what was posted since the published generation was trained.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

from serendip.content.cache import VectorCache
from serendip.content.config import ContentConfig, open_media
from serendip.content.encoders.media_files import Media
from serendip.content.posted_media import EncodedFile, PostedMediaTable
from serendip.data.items.catalogue import Item
from serendip.data.store.store import Store
from serendip.engine.artefacts.generations import open_current
from serendip.engine.workspace import Workspace
from serendip.errors import SerendipError
from serendip.runtime.atomic_files import exclusive_lock, write_text
from serendip.runtime.background import BackgroundProcess
from serendip.runtime.progress import SilentProgress

_log = logging.getLogger(__name__)

_POLL_S, _LINGER_S, _LONGEST_WAIT_S = 0.2, 10.0, 60.0
"""Seconds between two looks for posted items, for which a process waits for more, and between two
attempts, at most."""

_AT_ONCE = 8
"""Items that are encoded before their vectors are in use."""

_NICE = 5
"""Requests come first; but the files of a posted item are awaited, too."""


class PostedMediaEncoder:
    """Encodes the files of posted items.

    Args:
        store: of the items.
        table: takes the results.
        media: modality -> encoder and field.
        settings: of the modalities.
        cache: of vectors; training uses it, too.

    Attributes:
        version: of the store, up to which all files were encoded.
    """

    def __init__(
        self,
        store: Store,
        table: PostedMediaTable,
        media: Mapping[str, Media],
        settings: ContentConfig,
        cache: VectorCache,
    ) -> None:
        self._store, self._table, self._cache = store, table, cache
        self._media, self._settings = media, settings
        self.version = 0
        self._touched: dict[str, int] = {}  # item_id -> version that this encoder gave it

    def begin(self, version: int) -> None:
        """Go on with the items that were posted after a version of the store."""
        self.version = version

    def encode_posted(self) -> int:
        """Encode the files of items posted since the last call; the number of changed items.

        Raises:
            StorageError: a database cannot be read or written; the next call tries again.
            ExtraMissing: a package of an encoder is not installed.
        """
        changed = 0
        while (newest := self._store.max_version()) > self.version:
            posted = self._store.posted_after(self.version, _AT_ONCE)
            new = {
                item.item_id: (item, version)
                for item, version in posted
                if self._touched.pop(item.item_id, 0) != version and self._names_files(item)
            }
            changed += self._encode(new)
            self.version = posted[-1][1] if posted else newest
        return changed

    def _names_files(self, item: Item) -> bool:
        return any(item.field_text(source.field).strip() for source in self._media.values())

    def _encode(self, posted: Mapping[str, tuple[Item, int]]) -> int:
        """Encode the files of items, given with their versions; the number of changed items."""
        if not posted:
            return 0
        files = list(self._encode_files([item for item, _ in posted.values()]))
        stored = self._table.find(list(posted))
        new = [file for file in files if not file.equals(stored.get((file.item_id, file.modality)))]
        self._table.put(new)
        # Engines were not told of those that are stored if this process was killed just then.
        unknown = {file.item_id for file in stored.values() if not file.is_announced}
        unknown |= {file.item_id for file in new}
        touched = self._store.touch_items({name: posted[name][1] for name in unknown})
        self._touched |= touched
        self._table.announce(list(touched))
        return len(touched)

    def _encode_files(self, items: Sequence[Item]) -> Iterator[EncodedFile]:
        for name, source in self._media.items():
            vectors, report = source.encode(items, self._cache, SilentProgress(), name)
            problems = {skipped.item_id: skipped.reason for skipped in report.left_out}
            if problems:  # ids and file names are of clients: the answers about the items hold them
                _log.warning("posted items without %s: %s", name, report.message)
            for row, item in enumerate(items):
                if file := item.field_text(source.field).strip():
                    yield EncodedFile(
                        item.item_id,
                        name,
                        file,
                        self._settings.media[name].encoder,
                        vectors.vectors[row] if vectors.present[row] else None,
                        problems.get(item.item_id, ""),
                    )


def encode_posted_media(folder: str) -> None:
    """Encode the files of posted items, in a process of its own, until none came for a while.

    Args:
        folder: the workspace.
    """
    workspace = Workspace.open(Path(folder))
    content = workspace.settings.content
    done = _done_file(workspace)
    try:
        with (
            exclusive_lock(done.parent),
            closing(workspace.open_store()) as store,
            closing(PostedMediaTable.create(workspace.posted_media)) as table,
        ):
            media = open_media(content, workspace.folder, workspace.cache)
            encoder = PostedMediaEncoder(store, table, media, content, VectorCache(workspace.cache))
            encoder.begin(_read_done(workspace))
            ends_at = time.monotonic() + _LINGER_S
            while time.monotonic() < ends_at:
                if encoder.encode_posted():
                    ends_at = time.monotonic() + _LINGER_S
                write_text(done, str(encoder.version))
                time.sleep(_POLL_S)
    except SerendipError as error:
        _log.error("pictures and sounds of posted items are not encoded: %s", error)
        sys.exit(1)


def _done_file(workspace: Workspace) -> Path:
    return workspace.posted_media.with_name("version")


def _read_done(workspace: Workspace) -> int:
    """Version of the store up to which the files of posted items are encoded."""
    trained = open_current(workspace.generations, verify=False).manifest["item_version"]
    with suppress(OSError, ValueError):  # a cache that was deleted
        return max(int(trained), int(_done_file(workspace).read_text(encoding="utf-8")))
    return int(trained)


class MediaEncoding:
    """Starts a process that encodes files of posted items whenever items were posted.

    Args:
        folder: the workspace, with pictures or sounds in its settings.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._stopped, self._lock = folder, threading.Event(), threading.Lock()
        self._process: BackgroundProcess[str] | None = None
        self._thread = threading.Thread(target=self._run, name="media", daemon=True)

    def begin(self) -> None:
        """Start; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the process if there is one."""
        with self._lock:
            self._stopped.set()
            process = self._process
        if process is not None:
            process.stop()
        self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._stopped.wait(min(_POLL_S * 2.0**failures, _LONGEST_WAIT_S)):
            try:
                failures = failures + 1 if self._encode() else 0
            except (SerendipError, OSError):  # the store cannot be read now
                failures += 1

    def _encode(self) -> int:
        """Let a process encode what was posted; its exit code, 0 = there is nothing left."""
        workspace = Workspace.open(self._folder)
        with closing(workspace.open_store()) as store:
            done = _read_done(workspace)
            while not self._stopped.is_set() and store.max_version() <= done:
                self._stopped.wait(_POLL_S)
        with self._lock:
            if self._stopped.is_set():
                return 0
            task = os.fspath(self._folder)
            self._process = process = BackgroundProcess(encode_posted_media, task, _NICE)
        return process.run()
