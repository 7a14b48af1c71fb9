"""Files that belong to items: found inside the workspace, and nowhere else.

The path of an image or a sound is an ordinary attribute of an item. It comes from whoever wrote
the catalogue or posted the item, so it is never trusted: what lies outside the workspace, by
``..``, by an absolute path or through a link, is refused before anything of it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serendip.content.encoder import MediaEncoder
from serendip.data.item import Item
from serendip.errors import DataError

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Media:
    """One modality of a workspace beside text: what encodes it, and where its files are named.

    Args:
        encoder: reads the files.
        field: attribute that holds the path.
        folder: the workspace; paths are relative to it.
    """

    encoder: MediaEncoder
    field: str
    folder: Path

    def files(self, items: Sequence[Item]) -> list[Path | None]:
        """The file of each item; None where it names none.

        Raises:
            DataError: files are missing or outside the workspace; all are counted.
        """
        found: list[Path | None] = []
        problems: list[str] = []
        for item in items:
            name = item.field_text(self.field).strip()
            try:
                found.append(workspace_file(self.folder, name) if name else None)
            except DataError as error:
                problems.append(f"item {item.item_id!r}: {error.message}")
        if problems:
            more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
            raise DataError(
                f"attribute {self.field!r} of {len(problems)} items names no usable file: "
                f"{' '.join(problems[:_SHOWN])}{more}",
                "Put the files into the workspace, or leave the attribute empty.",
            )
        return found


def workspace_file(folder: Path, name: str) -> Path:
    """The regular file that a path relative to the workspace names, links followed.

    Raises:
        DataError: it lies outside the workspace, or is no file.
    """
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        is_inside = path.is_relative_to(root)
        is_file = is_inside and path.is_file()
    except (OSError, ValueError, RuntimeError):  # NUL bytes, loops of links, names too long.
        raise DataError(f"{name[:80]!r} is no path.") from None
    if not is_inside:
        raise DataError(f"{name[:80]!r} is outside the workspace.")
    if not is_file:
        raise DataError(f"{name[:80]!r} is no file in the workspace.")
    return path


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """A file's content, never more than ``max_bytes`` of it.

    Raises:
        DataError: it is larger, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > max_bytes:
        raise DataError(f"{path} is larger than {max_bytes:,} bytes.", "Raise `max_bytes`.")
    return data
