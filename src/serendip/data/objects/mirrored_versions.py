"""Versions of an artefact in an object store, with copies on this machine.

::

    gen-7/claim          whoever makes this object may use the name; written first
    gen-7/...            files, then manifest.json
    CURRENT              name of the current version, replaced by a conditional put

Of two machines that publish at once both write their files, under two names; the pointer is set by
whoever comes first, and the other one is refused. After a crash at any point the pointer is the old
one or the new one. What a killed or refused publication left is removed by a later one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serendip.data.objects.mirror import Mirror, complete_names
from serendip.data.objects.object_store import StoredValue
from serendip.errors import ArtefactError, ConflictError, StorageError
from serendip.runtime.atomic_files import exclusive_lock, flush_folder
from serendip.runtime.versions import MANIFEST, Version, Versions

_log = logging.getLogger(__name__)

_CLAIM = "claim"
_POINTER_LOCK = ".pointer"


class _SeenPointer:
    """The pointer as one user of the versions saw it last; it replaces no other one."""

    def __init__(self) -> None:
        self.was_read = False
        self.value: StoredValue | None = None


@dataclass(frozen=True)
class MirroredVersions(Versions):
    """All versions of an artefact in an object store.

    Reading goes on with what this machine has if the store cannot be reached; nothing can be
    published then.

    Args:
        mirror: of the folder of the versions; its folder is that of the copies.
    """

    mirror: Mirror = field(kw_only=True)
    _seen: _SeenPointer = field(default_factory=_SeenPointer, kw_only=True)

    def publish(self, write: Callable[[Path], object], facts: Mapping[str, Any]) -> Version:
        """Write a version, store it and make it current.

        Raises:
            ConflictError: another machine changed the pointer meanwhile.
            StorageError: the store cannot be written to.
        """
        self._read_pointer()  # before the name is taken: see _remove_unfinished
        return super().publish(write, facts)

    def _take_name(self) -> str:
        taken = {key.partition("/")[0] for key in self.mirror.objects.sizes("")}
        taken |= {path.name for path in self.folder.glob(f"{self.prefix}*")}
        number = max(map(self.number, taken), default=0)
        while True:
            number += 1
            name = f"{self.prefix}{number}"
            token = secrets.token_bytes(16)
            if self.mirror.objects.replace(f"{name}/{_CLAIM}", token, None):
                return name

    def _put_in_place(self, building: Path, name: str) -> None:
        self.mirror.store(name, building)
        building.rename(self.folder / name)
        flush_folder(self.folder)
        try:
            self.make_current(name)
        except ConflictError:
            self.mirror.drop_copy(name)
            # The claim stays until a higher number is in force, so that no name is used twice.
            self._remove_stored(name, with_claim=False)
            raise
        self._remove_unfinished(name)

    def make_current(self, name: str) -> None:
        """Set the pointer to a name, unless another machine changed it since it was read.

        Raises:
            ConflictError: another machine did; the pointer stays.
            StorageError: the store cannot be written to.
        """
        seen = self._seen.value if self._seen.was_read else self._read_pointer()
        tag = None if seen is None else seen.tag
        content = f"{name}\n{secrets.token_hex(16)}\n".encode("ascii")
        if not self.mirror.objects.replace(self.pointer, content, tag):
            now = self._parse(self._read_pointer())
            raise ConflictError(
                f"{now or 'another generation'} was published in {self.mirror.objects.name} "
                f"meanwhile, so {name} was not.",
                "Look at it with `serendip status`, and train again if it is not enough.",
            )
        self._read_pointer()
        self._follow(name)

    def current_name(self) -> str:
        """Name in the pointer; of the copy here if the store is out of reach or has none yet.

        Raises:
            ArtefactError: the pointer has something else than the name of a version.
        """
        try:
            stored = self._read_pointer()
        except StorageError as error:
            self.mirror.note_outage(str(error))
            return super().current_name()
        self.mirror.note_outage("")
        return super().current_name() if stored is None else self._parse(stored)

    def has_pointer(self) -> bool:
        """Whether there is a pointer, readable or not."""
        return self._read_pointer() is not None or super().has_pointer()

    def current_since(self) -> float:
        """Unix seconds at which the pointer was set."""
        with suppress(StorageError):
            if (stored := self._read_pointer()) is not None:
                return stored.written
        return super().current_since()

    def current(self, verify: bool = True) -> Version | None:
        """The current version, fetched if it is not here; None if none was published.

        Raises:
            ArtefactError: see ``open``.
        """
        version = super().current(verify)
        if version is not None:
            with suppress(ArtefactError):
                if super().current_name() == version.name:
                    return version
            self._follow(version.name)
        return version

    def open(self, name: str, verify: bool = True) -> Version:
        """Open a version; what is missing or damaged here is fetched first.

        Raises:
            ArtefactError: a file is missing or altered in the store, too, or cannot be fetched.
            StorageError: this machine has no copy, and the store cannot be reached.
        """
        damage: ArtefactError | None = None
        if (self.folder / name / MANIFEST).is_file():
            try:
                return super().open(name, verify)
            except ArtefactError as error:
                _log.warning("it is fetched again: %s", error)
                damage = error
        try:
            keep = {Versions.current_name(self)}
            is_stored = self.mirror.fetch(name, keep)
        except StorageError:
            if damage is None:
                raise
            raise damage from None
        if not is_stored:
            message = f"{self.mirror.objects.name} has no {name}."
            raise damage or ArtefactError(message, self.repair)
        return super().open(name, verify)

    def read_manifest(self, name: str) -> Mapping[str, Any]:
        """The manifest of a version, of which nothing else is fetched.

        Raises:
            ArtefactError: it is missing, altered or of another format.
        """
        with suppress(ArtefactError):
            return self.read_local_manifest(name)
        path = f"{self.mirror.objects.name}/{name}"
        try:
            if (stored := self.mirror.objects.read(f"{name}/{MANIFEST}")) is not None:
                return self.parse_manifest(stored.content, path)
        except (StorageError, ValueError) as error:
            raise ArtefactError(f"{path} is not readable: {error}.", self.repair) from None
        raise ArtefactError(f"{path}/{MANIFEST} is missing.", self.repair)

    def names(self) -> list[str]:
        """Names of complete versions in the store, oldest first; here if it is out of reach."""
        try:
            return self.sort(self.mirror.names())
        except StorageError:
            return self.local_names()

    def remove(self, name: str) -> None:
        """Remove a version from the store and from here."""
        self._remove_stored(name)
        self.mirror.drop_copy(name)

    def files_state(self, name: str) -> Hashable:
        """A value that changes with the files here, and whenever the pointer is set."""
        with suppress(StorageError):
            stored = self._read_pointer()
            return super().files_state(name), stored and stored.tag
        return super().files_state(name)

    def _read_pointer(self) -> StoredValue | None:
        self._seen.value = self.mirror.objects.read(self.pointer)
        self._seen.was_read = True
        return self._seen.value

    def _parse(self, stored: StoredValue | None) -> str:
        if stored is None:
            return ""
        origin = f"{self.mirror.objects.name}/{self.pointer}"
        return self.parse_pointer(stored.content.partition(b"\n")[0], origin)

    def _follow(self, name: str) -> None:
        """Note here what is in force, and remove copies of what the store does not have any more.

        A process that answers from such a copy has mapped its files.
        """
        with exclusive_lock(self.folder / _POINTER_LOCK, wait=True):
            super().make_current(name)
            with suppress(StorageError):
                stored = self.mirror.names()
                for other in self.local_names():
                    if other not in stored:
                        self.mirror.drop_copy(other)

    def _remove_stored(self, name: str, with_claim: bool = True) -> None:
        objects = self.mirror.objects
        objects.remove([f"{name}/{MANIFEST}"])
        claim = f"{name}/{_CLAIM}"
        keys = objects.sizes(f"{name}/")
        objects.remove([key for key in keys if with_claim or not key.startswith(claim)])

    def _remove_unfinished(self, name: str) -> None:
        """Remove what killed or refused publications left, once a version is current.

        Whoever claimed a lower number had read the pointer before this version's number was taken,
        so before the pointer was set: they can only be refused.
        """
        sizes = self.mirror.objects.sizes("")
        complete = complete_names(sizes)
        for other in {key.partition("/")[0] for key in sizes}:
            if other not in complete and 0 < self.number(other) < self.number(name):
                self.mirror.remove(other)
