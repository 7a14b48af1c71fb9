"""Encodes the pictures and sounds of posted items, in a process beside the service.

A posted item is found by its text at once. The process follows the store, encodes the files that
posted items name, writes the vectors where engines read them, and then gives the items a new
version: so every engine reads them again, as it reads any change, and fuses what training would
have fused. What is lost by a kill is done after the next start: the process begins with what was
posted since the published generation was trained, and files that it knows already come from the
vector cache.

One process works for all services and workers of a workspace: whoever holds its lock runs it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import wave
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from serendip.content.cache import VectorCache
from serendip.content.config import ContentConfig, open_media
from serendip.content.encoders.media_files import Media
from serendip.content.posted_media import EncodedFile, PostedMediaTable
from serendip.data.items.catalogue import Item
from serendip.data.store.store import Store
from serendip.engine.artefacts.generations import current_name, open_current
from serendip.engine.workspace import Workspace
from serendip.errors import SerendipError, StorageError
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.background import BackgroundProcess
from serendip.runtime.progress import SilentProgress
from serendip.runtime.scratch import scratch_folder

_log = logging.getLogger(__name__)

_POLL_S = 0.2
_AT_ONCE = 8
"""Items that are encoded before their vectors are in use."""

_NICE = 5
"""Requests come first; but the files of a posted item are awaited, too."""

_LOOK_S, _RETRY_S, _LONGEST_RETRY_S = 2.0, 1.0, 60.0
"""Seconds until it is looked again whether a process is needed here; until a failed one is started
again, at first and at most."""


class PostedMediaEncoder:
    """Encodes the files of posted items.

    Args:
        store: of the items.
        table: takes the results.
        media: modality -> encoder and field.
        settings: of the modalities.
        cache: of vectors; training uses it, too.
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
        self._version = 0
        self._touched: dict[str, int] = {}  # item_id -> version that this encoder gave it

    def begin(self, version: int) -> None:
        """Go on with the items that were posted after a version of the store."""
        self._version = version

    def encode_posted(self) -> int:
        """Encode the files of items posted since the last call; the number of changed items.

        Raises:
            StorageError: a database cannot be read or written; the next call tries again.
            ExtraMissing: a package of an encoder is not installed.
        """
        changed = 0
        while (newest := self._store.max_version()) > self._version:
            posted = self._store.posted_after(self._version, _AT_ONCE)
            new = {
                item.item_id: (item, version)
                for item, version in posted
                if self._touched.pop(item.item_id, 0) != version and self._names_files(item)
            }
            changed += self._encode(new)
            self._version = posted[-1][1] if posted else newest
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
    """Encode the files of posted items until this process is ended, or the settings change.

    Args:
        folder: the workspace.
    """
    try:
        _follow(Path(folder))
    except SerendipError as error:
        _log.error("pictures and sounds of posted items are not encoded: %s", error)
        sys.exit(1)


def _follow(folder: Path) -> None:
    workspace = Workspace.open(folder)
    content = workspace.settings.content
    media = open_media(content, workspace.folder, workspace.cache)
    _warm_up(media)
    with (
        closing(workspace.open_store()) as store,
        closing(PostedMediaTable.create(workspace.posted_media)) as table,
    ):
        encoder = PostedMediaEncoder(store, table, media, content, VectorCache(workspace.cache))
        generation, is_behind = "", False
        while True:
            if (name := current_name(workspace.generations)) != generation:
                if Workspace.open(folder).settings.content != content:
                    return
                manifest = open_current(workspace.generations, verify=False).manifest
                encoder.begin(int(manifest["item_version"]))
                generation = name
            try:
                encoder.encode_posted()
                is_behind = False
            except StorageError as error:
                if not is_behind:
                    _log.warning("files of posted items will be encoded later: %s", error)
                is_behind = True
            time.sleep(_POLL_S)


def _warm_up(media: Mapping[str, Media]) -> None:
    """Load the networks: encode a small file of each modality."""
    with scratch_folder() as folder:
        for name, source in media.items():
            path = folder / name
            _WRITE_SAMPLE[name](path)
            source.encoder.encode([path])


def _write_picture(path: Path) -> None:
    """A black GIF of one pixel."""
    header = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00"
    path.write_bytes(header + b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")


def _write_sound(path: Path) -> None:
    """A WAV of four seconds of silence."""
    with wave.open(os.fspath(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(2 * 4 * 16_000))


_WRITE_SAMPLE = {"image": _write_picture, "audio": _write_sound}


class MediaProcess:
    """Keeps the process that encodes files of posted items running beside a service.

    Without pictures and sounds in the settings, or where another service or worker of the
    workspace keeps one, there is none.

    Args:
        folder: the workspace.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._process: BackgroundProcess[str] | None = None
        self._thread = threading.Thread(target=self._run, name="media", daemon=True)
        self._failures = 0

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
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopped.wait(wait_s):
            wait_s = self._keep_process()

    def _keep_process(self) -> float:
        """Run the process to its end if it is needed here; seconds until the next attempt."""
        try:
            workspace = Workspace.open(self._folder)
            if not workspace.settings.content.media:
                return _LOOK_S
            with exclusive_lock(workspace.posted_media.parent):
                with self._lock:
                    if self._stopped.is_set():
                        return 0.0
                    task = os.fspath(self._folder)
                    self._process = process = BackgroundProcess(encode_posted_media, task, _NICE)
                code = process.run()
        except (SerendipError, OSError):  # another one has it, or this workspace cannot be used
            return _LOOK_S
        self._failures = self._failures + 1 if code else 0
        return min(_RETRY_S * 2.0**self._failures, _LONGEST_RETRY_S)
