"""Media files of items: resolved inside the workspace, checked and encoded.

The path of an image or an audio file is an ordinary attribute of an item. It comes from whoever
wrote the catalogue or posted the item, so it is not trusted: a path outside the workspace, by
``..``, an absolute path or a link, is refused before anything is read. A bad file is reported and
skipped, and its item is treated as having none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import MediaEncoder, find_present
from serendip.data.items.catalogue import Item
from serendip.data.items.features import ModalityVectors
from serendip.errors import DataError
from serendip.runtime.progress import Progress

_FILES_PER_BATCH = 64  # between two writes to the cache
_MAX_EXAMPLES = 5


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


@dataclass(frozen=True, slots=True)
class MediaReport:
    """Number of files of a modality, and those that cannot be used.

    Args:
        named: number of items that name a file.
        left_out: items whose file cannot be used, in catalogue order.
    """

    field: str
    named: int
    left_out: tuple[FileProblem, ...]

    @property
    def message(self) -> str:
        """Summary in one sentence; in capitals if no file can be used."""
        if not self.named:
            return f"no item names a file in `{self.field}`"
        if len(self.left_out) == self.named:
            return f"NONE of the {self.named:,} files that `{self.field}` names can be used"
        return (
            f"{len(self.left_out):,} of {self.named:,} files that `{self.field}` names cannot be "
            "used; these items are treated as having none"
        )

    @property
    def examples(self) -> tuple[str, ...]:
        """The first items without a usable file, with the reasons."""
        return tuple(
            f"item {skipped.item_id!r}: {skipped.problem}"
            for skipped in self.left_out[:_MAX_EXAMPLES]
        )

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return {
            "field": self.field,
            "named": self.named,
            "left_out": len(self.left_out),
            "message": self.message,
            "examples": list(self.examples),
        }


@dataclass(frozen=True, slots=True)
class Media:
    """Modality other than text: its encoder, and the item field with its files.

    Args:
        folder: the workspace; paths are relative to it.
        max_bytes: larger files are not opened.
        open_file: reads one file as the encoder does, or raises ``DataError``.
    """

    encoder: MediaEncoder
    field: str
    folder: Path
    max_bytes: int
    open_file: Callable[[Path], object]

    def encode(
        self, items: Sequence[Item], cache: VectorCache, progress: Progress, name: str
    ) -> tuple[ModalityVectors, MediaReport]:
        """Encode the files of items: vectors (N, D), and a report of unusable files.

        Raises:
            ExtraMissing: a package that the encoder needs is not installed.
        """
        files, reasons = self._find_files(items)
        small = VectorCache(cache.folder, _FILES_PER_BATCH)
        vectors, unreadable = small.encode_readable(self.encoder, files, progress, f"{name} files")
        present = find_present(files)  # (N,)
        for row, reason in enumerate(unreadable):
            if reason:
                reasons[row], present[row] = reason, False
        return ModalityVectors(vectors, present), self._build_report(items, reasons)

    def states(self, items: Sequence[Item]) -> list[tuple[int, int]]:
        """Size and time (ns) of the file of each item; 0 without one. Nothing is read."""
        files, _ = self._find_files(items)
        found = [path.stat() if path is not None and path.is_file() else None for path in files]
        return [(0, 0) if one is None else (one.st_size, one.st_mtime_ns) for one in found]

    def check(self, items: Sequence[Item], progress: Progress) -> MediaReport:
        """Report unusable files; each file is opened and none is encoded.

        Raises:
            ExtraMissing: a package that reads them is not installed.
        """
        files, reasons = self._find_files(items)
        named = [(row, file) for row, file in enumerate(files) if file is not None]
        for row, file in progress.track(named, f"Reading {self.field}", len(named)):
            try:
                self.open_file(file)
            except DataError as error:
                reasons[row] = error.message
        return self._build_report(items, reasons)

    def _find_files(self, items: Sequence[Item]) -> tuple[list[Path | None], dict[int, str]]:
        return find_media_files(items, self.field, self.folder, self.max_bytes)

    def _build_report(self, items: Sequence[Item], reasons: dict[int, str]) -> MediaReport:
        named = sum(bool(item.field_text(self.field).strip()) for item in items)
        return MediaReport(self.field, named, list_problems(items, self.field, reasons))


def find_media_files(
    items: Sequence[Item], field: str, folder: Path, max_bytes: int
) -> tuple[list[Path | None], dict[int, str]]:
    """Find the files that an attribute of items names; none is opened.

    Returns:
        usable file of each item or None; and row -> reason why a named file is not used.
    """
    files: list[Path | None] = [None] * len(items)
    reasons: dict[int, str] = {}
    for row, item in enumerate(items):
        if not (name := item.field_text(field).strip()):
            continue
        try:
            path = resolve_workspace_file(folder, name)
            size = path.stat().st_size
        except DataError as error:
            reasons[row] = error.message
        except OSError as error:  # Deleted since it was resolved.
            reasons[row] = f"{name[:80]!r} cannot be read: {error.strerror}."
        else:
            if size <= max_bytes:
                files[row] = path
            else:
                reasons[row] = f"{name[:80]!r} has {size:,} bytes; {max_bytes:,} are allowed."
    return files, reasons


def list_problems(
    items: Sequence[Item], field: str, reasons: Mapping[int, str]
) -> tuple[FileProblem, ...]:
    """Problems of the rows of items for which there is a reason."""
    return tuple(FileProblem(items[row].item_id, field, reasons[row]) for row in sorted(reasons))


_PATH_HINT = "Give the path of a file, relative to the workspace."


def resolve_workspace_file(folder: Path, name: str) -> Path:
    """Resolve a path relative to the workspace to a regular file; links are followed.

    Raises:
        DataError: it is outside the workspace, or not a regular file.
    """
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        is_inside = path.is_relative_to(root)
        is_file = is_inside and path.is_file()
    except (OSError, ValueError, RuntimeError):  # NUL bytes, loops of links, names too long.
        raise DataError(f"{name[:80]!r} is not a valid path.", _PATH_HINT) from None
    if not is_inside:
        raise DataError(f"{name[:80]!r} is outside the workspace.", _PATH_HINT)
    if not is_file:
        raise DataError(f"{name[:80]!r} is not a file in the workspace.", _PATH_HINT)
    return path


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a file of at most ``max_bytes``.

    Raises:
        DataError: it is larger, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "Check the file.") from None
    if len(data) > max_bytes:
        raise DataError(f"{path} is larger than {max_bytes:,} bytes.", "Raise `max_bytes`.")
    return data
