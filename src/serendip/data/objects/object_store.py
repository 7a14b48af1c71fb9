"""What a place that many machines reach must be able to do.

An object has a name with slashes and a content that appears whole or not at all. Small ones, the
pointers, are replaced on a condition: that nobody else replaced them since they were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A small object as it was read.

    Args:
        content: of it.
        tag: differs from that of every earlier and later content.
        written: Unix seconds.
    """

    content: bytes
    tag: str
    written: float


class ObjectStore(Protocol):
    """Objects below one prefix; safe to use from many threads.

    Every method raises ``StorageError`` if the place cannot be reached or refuses the access.
    """

    @property
    def name(self) -> str:
        """Its URL or path, for people."""

    def read(self, key: str) -> StoredValue | None:
        """A small object that ``replace`` or ``upload`` wrote; None if there is none."""

    def replace(self, key: str, content: bytes, tag: str | None) -> bool:
        """Write a small object unless another writer came first.

        Args:
            key: of the object; always written by this method.
            content: the new one.
            tag: that the object has now; None = there is no such object.

        Returns:
            whether it was written; False = the object has another tag.
        """

    def upload(self, key: str, path: Path) -> None:
        """Write an object from a file; nobody sees a part of it."""

    def stream(self, key: str) -> Iterator[bytes]:
        """The content of an object, part by part.

        Raises:
            FileNotFoundError: there is none.
        """

    def sizes(self, prefix: str) -> dict[str, int]:
        """Key -> bytes of all objects whose keys begin with a prefix."""

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there are no error."""

    def remove_parts(self, prefix: str) -> None:
        """Remove what killed uploads left of objects whose keys begin with a prefix.

        Nobody uploads such objects meanwhile.
        """

    def within(self, folder: str) -> ObjectStore:
        """The objects below a folder of this place."""
