"""Versions of an artefact in an object store, with copies on this machine.

::

    gen-7/claim          whoever makes this object may use the name; written first
    gen-7/...            files, then manifest.json
    CURRENT              name of the current version, replaced by a conditional put

Of two machines that publish at once both write their files, under two names; the pointer is set by
whoever comes first, and the other one is refused. After a crash at any point the pointer is the old
one or the new one. What a killed or refused publication left is removed by a later one.

The folder here has, besides copies::

    .copies/gen-7        SHA-256 of each manifest that was fetched or stored under this name
    .own/gen-2           what this machine had published before it had the store
    .claims/gen-2        what it writes into the claim of that name, until the store has it

A name says nothing about a content: another store, and this machine without one, give out the same
names. So a copy counts if its manifest is that of the store. What no store has is set aside, never
removed.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import shutil
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serendip.data.objects.mirror import Mirror, Place, complete_names
from serendip.data.objects.object_store import StoredValue
from serendip.errors import ArtefactError, ConflictError, StorageError
from serendip.runtime.atomic_files import exclusive_lock, flush_folder, make_folder, write_synced
from serendip.runtime.versions import (
    MANIFEST,
    OWN_FACTS,
    Version,
    Versions,
    require_nothing,
    unseal,
)

_log = logging.getLogger(__name__)

_CLAIM = "claim"
_POINTER_LOCK = ".pointer"
_MARKS, _OWN, _CLAIMS = ".copies", ".own", ".claims"


class _Seen:
    """What one user of the versions saw last of the store.

    Attributes:
        was_read: whether the pointer was.
        value: of the pointer; only this one is replaced.
        is_away: whether the store was out of reach.
    """

    def __init__(self) -> None:
        self.was_read = self.is_away = False
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
    _seen: _Seen = field(default_factory=_Seen, kw_only=True)

    def publish(
        self,
        write: Callable[[Path], object],
        facts: Mapping[str, Any],
        require_held: Callable[[], None] = require_nothing,
    ) -> Version:
        """Write a version, store it and make it current.

        Raises:
            ConflictError: another machine changed the pointer meanwhile.
            StorageError: the store cannot be written to.
        """
        if not self._seen.was_read:  # before the name is taken: see _remove_unfinished
            self._read_pointer()
        return super().publish(write, facts, require_held)

    def _take_name(self) -> str:
        taken = {key.partition("/")[0] for key in self.mirror.objects.sizes("")}
        taken |= {path.name for path in self.folder.glob(f"{self.prefix}*")}
        number = max(map(self.number, taken), default=0)
        while True:
            number += 1
            if self._claim(name := f"{self.prefix}{number}", secrets.token_bytes(16)):
                return name

    def _claim(self, name: str, content: bytes) -> bool:
        """Whether this machine may use a name, which nobody has claimed."""
        return self.mirror.objects.replace(f"{name}/{_CLAIM}", content, None)

    def _put_in_place(self, building: Path, name: str, require_held: Callable[[], None]) -> None:
        require_held()
        self._mark(name, (building / MANIFEST).read_bytes())
        try:
            self._store(building, name)
            self._require_held(name, require_held)
            building.rename(self.folder / name)
            flush_folder(self.folder)
            self.make_current(name)
        except ConflictError:
            self.mirror.drop_copy(name)
            # The claim stays until a higher number is in force, so that no name is used twice.
            self._remove_stored(name, with_claim=False)
            raise
        with suppress(StorageError):  # It is in force; the next publication cleans.
            self._remove_unfinished(name)

    def _require_held(self, name: str, require_held: Callable[[], None]) -> None:
        """Raise what says that a lock was lost; a version that was stored under it goes."""
        try:
            require_held()
        except StorageError:
            with suppress(StorageError):
                self._remove_stored(name, with_claim=False)
            raise

    def _store(self, building: Path, name: str) -> None:
        """Store a version; one whose publication came too late may be removed meanwhile."""
        seen = self._seen.value
        try:
            self.mirror.store(name, building)
        except StorageError:
            if (now := self._read_pointer()) != seen:
                raise self._conflict(name, now) from None
            raise

    def make_current(self, name: str) -> None:
        """Set the pointer to a name, unless another machine changed it since it was read.

        Raises:
            ConflictError: another machine did; the pointer stays.
            StorageError: the pointer was not read, or the store cannot be written to.
        """
        if not self._seen.was_read:
            pointer = f"{self.mirror.objects.name}/{self.pointer}"
            raise StorageError(f"{pointer} was not read, so it is not replaced.", "Try again.")
        seen = self._seen.value
        content = f"{name}\n{secrets.token_hex(16)}\n".encode("ascii")
        self._replace_pointer(name, content, None if seen is None else seen.tag)
        with suppress(StorageError):
            self._read_pointer()
        self._follow(name)

    def _replace_pointer(self, name: str, content: bytes, tag: str | None) -> None:
        """Replace the pointer; if no answer comes, what it has then says how that ended."""
        failure: StorageError | None = None
        try:
            if self.mirror.objects.replace(self.pointer, content, tag):
                return
        except StorageError as error:
            failure = error
        try:
            now = self._read_pointer()
        except StorageError as error:
            raise StorageError(
                f"whether {name} is in force is not known: {(failure or error).message}",
                "Look at it with `serendip status` once the storage can be reached.",
            ) from None
        if now is not None and now.content == content:
            return
        raise failure or self._conflict(name, now)

    def _conflict(self, name: str, now: StoredValue | None) -> ConflictError:
        return ConflictError(
            f"{self._parse(now) or 'another version'} was published in "
            f"{self.mirror.objects.name} meanwhile, so {name} was not.",
            "Look at it with `serendip status`, and run the command again if it is not enough.",
        )

    def current_name(self) -> str:
        """Name in the pointer; of the copy here if the store is out of reach or has none yet.

        Raises:
            ArtefactError: the pointer has something else than the name of a version.
            StorageError: the store is out of reach, and this machine knows of no version.
        """
        try:
            stored = self._read_pointer()
        except StorageError as error:
            if not super().has_pointer():
                raise
            self.mirror.note_outage(str(error))
            return super().current_name()
        self.mirror.note_outage("")
        return super().current_name() if stored is None else self._parse(stored)

    def readable_name(self) -> str:
        """Name in the pointer, for who goes on to change it; empty without one, or unreadable.

        Raises:
            StorageError: the store cannot be reached; what is known here may be older.
        """
        stored = self._read_pointer()
        try:
            return super().current_name() if stored is None else self._parse(stored)
        except ArtefactError:
            return ""

    def has_pointer(self) -> bool:
        """Whether there is a pointer, readable or not."""
        return self._read_pointer() is not None or super().has_pointer()

    def current_since(self) -> float:
        """Unix seconds at which the pointer was set."""
        try:
            if (stored := self._read_pointer()) is not None:
                return stored.written
        except StorageError:
            if not super().has_pointer():
                raise
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

    def current_to_replace(self) -> Version | None:
        """The current version; ``publish`` is refused once another one is in force.

        Raises:
            ArtefactError: see ``open``.
            StorageError: the store cannot be reached; what is known here may be older.
        """
        stored = self._read_pointer()
        name = super().current_name() if stored is None else self._parse(stored)
        return self.open(name) if name else None

    def open(self, name: str, verify: bool = True) -> Version:
        """Open a version; what is missing or damaged here is fetched first.

        Raises:
            ArtefactError: a file is missing or altered in the store, too, or cannot be fetched.
            StorageError: this machine has no copy, and the store cannot be reached.
        """
        manifest, damage = self._stored_manifest(name), None
        if self._is_here(name, manifest):
            try:
                version = super().open(name, verify)
            except ArtefactError as error:
                _log.warning("it is fetched again: %s", error)
                damage = error
            else:
                if manifest is not None:
                    self._mark(name, manifest)
                return version
        try:
            is_stored = self._fetch(name)
        except StorageError:
            if damage is None:
                raise
            raise damage from None
        if not is_stored:
            message = f"{self.mirror.objects.name} has no {name}."
            raise damage or ArtefactError(message, self.repair)
        return super().open(name, verify)

    def _fetch(self, name: str) -> bool:
        """Fetch a version; whether the store has it.

        Raises:
            ArtefactError: a file in the store is not what its manifest says.
        """
        names = (path.name for path in self.folder.glob(f"{self.prefix}*"))
        spare = set(filter(self._is_copy, names))
        with suppress(ArtefactError):
            spare.discard(Versions.current_name(self))
        try:
            return self.mirror.fetch(name, spare, self._clear_for)
        except ArtefactError as error:
            raise ArtefactError(error.message, self.repair) from None

    def _stored_manifest(self, name: str) -> bytes | None:
        """The manifest of a version in the store; None if it is out of reach, missing or damaged.

        Then what is here counts, which is verified by its own manifest.
        """
        if self._seen.is_away:
            return None
        try:
            stored = self.mirror.objects.read(f"{name}/{MANIFEST}")
        except StorageError:
            self._seen.is_away = True
            return None
        with suppress(ValueError):
            if stored is not None:
                unseal(stored.content)
                return stored.content
        return None

    def _is_here(self, name: str, manifest: bytes | None) -> bool:
        """Whether the folder has a version under this name: that of the store if it is known."""
        try:
            found = (self.folder / name / MANIFEST).read_bytes()
        except OSError:
            return False
        return manifest is None or found == manifest

    def read_manifest(self, name: str) -> Mapping[str, Any]:
        """The manifest of a version, of which nothing else is fetched.

        Raises:
            ArtefactError: it is missing, altered or of another format.
        """
        path = f"{self.mirror.objects.name}/{name}"
        if (manifest := self._stored_manifest(name)) is not None:
            return self.parse_manifest(manifest, path)
        with suppress(ArtefactError):
            return self.read_local_manifest(name)
        raise ArtefactError(f"{path}/{MANIFEST} is missing or not readable.", self.repair)

    def names(self) -> list[str]:
        """Names of complete versions in the store, oldest first; here if it is out of reach."""
        try:
            return self.sort(self.mirror.names())
        except StorageError:
            self._seen.is_away = True
            return self.local_names()

    def is_alone(self) -> bool:
        """Whether this machine has published something, and the store has nothing in force.

        Raises:
            StorageError: the store cannot be reached, and this machine has versions.
        """
        return super().has_pointer() and self._read_pointer() is None

    def share(self) -> Version | None:
        """Publish the current version of this machine if the store has none; None = nothing is.

        It keeps its name, by which others speak of it, unless the store has or had that or a later
        one. A damaged one stays here alone: whoever needs it is told. The caller holds the lock of
        the folder.

        Raises:
            ConflictError: another machine published one meanwhile.
            StorageError: the store cannot be written to.
        """
        if not self.is_alone():
            return None
        try:
            name = super().current_name()
            version = super().open(name)
        except ArtefactError as error:
            _log.warning("%s does not get it: %s", self.mirror.objects.name, error)
            return None
        if self._claim_own_name(name):
            self._share_as_it_is(name)
            return version

        def copy(building: Path) -> None:
            for file in version.manifest["files"]:
                (building / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(version.folder / file, building / file)

        facts = {key: value for key, value in version.manifest.items() if key not in OWN_FACTS}
        return self.publish(copy, facts)

    def _claim_own_name(self, name: str) -> bool:
        """Whether a version of this machine may keep its name in the store.

        What is written into the claim is noted here first: whoever fails later goes on with it.
        """
        taken = {key.partition("/")[0] for key in self.mirror.objects.sizes("")} - {name}
        if max(map(self.number, taken), default=0) > self.number(name):
            return False
        note = self.folder / _CLAIMS / name
        if not _read_lines(note):
            make_folder(note.parent)
            write_synced(note, secrets.token_hex(16))
        content = note.read_bytes()
        if self._claim(name, content):
            return True
        claim = self.mirror.objects.read(f"{name}/{_CLAIM}")
        return claim is not None and claim.content == content

    def _share_as_it_is(self, name: str) -> None:
        """Store a version of this machine under the name that it has; refused, it stays our own."""
        try:
            self._store(self.folder / name, name)
            self.make_current(name)
        except ConflictError:
            # A copy of this machine has the same claim, and may have put the version in force.
            if self.current_name() != name:
                self._remove_stored(name, with_claim=False)
            raise
        # Only now: a copy of what is not in force may be removed.
        self._mark(name, (self.folder / name / MANIFEST).read_bytes())
        (self.folder / _CLAIMS / name).unlink()
        with suppress(StorageError):
            self._remove_unfinished(name)

    def own(self) -> Versions:
        """What this machine had published before it had the store, and nobody else has."""
        folder = self.folder / _OWN
        return Versions(folder, self.repair, self.prefix, self.pointer, self.format)

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
        self._seen.was_read = False
        try:
            self._seen.value = self.mirror.objects.read(self.pointer)
        except StorageError:
            self._seen.is_away = True
            raise
        self._seen.was_read, self._seen.is_away = True, False
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
                stored, own = self.mirror.names(), self._own_names()
                for other in self.local_names():
                    if other != name and (other in own or other not in stored):
                        self._clear(other)

    def _mark(self, name: str, manifest: bytes) -> None:
        """Note that a version with this manifest is a copy."""
        mark, digest = self.folder / _MARKS / name, hashlib.sha256(manifest).hexdigest()
        if digest not in _read_lines(mark):
            make_folder(mark.parent)
            with mark.open("a", encoding="ascii") as stream:
                stream.write(f"{digest}\n")
            flush_folder(mark)

    def _own_names(self) -> list[str]:
        """Names of versions here that were neither fetched nor stored."""
        return [name for name in self.local_names() if not self._is_copy(name)]

    def _is_copy(self, name: str) -> bool:
        digests = _read_lines(self.folder / _MARKS / name)
        try:
            manifest = (self.folder / name / MANIFEST).read_bytes()
            unseal(manifest)
        except (OSError, ValueError):
            return bool(digests)  # damaged: nothing else tells
        return hashlib.sha256(manifest).hexdigest() in digests

    def _clear_for(self, name: str, manifest: bytes) -> None:
        """Free a name here for a copy with a manifest."""
        self._mark(name, manifest)  # first, so that no copy is ever taken for one of our own
        self._clear(name)

    def _clear(self, name: str) -> None:
        """Free a name here: a copy is removed, and what is our own set aside."""
        if not (self.folder / name).exists():
            return
        if self._is_copy(name):
            self.mirror.drop_copy(name)
            return
        own = self.own()
        make_folder(own.folder)
        number = self.number(name)
        while (own.folder / f"{self.prefix}{number}").exists():
            number += 1
        (self.folder / name).rename(own.folder / f"{self.prefix}{number}")
        flush_folder(own.folder)
        _log.warning("%s of this machine alone lies in %s now", name, own.folder)

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


def open_versions(
    place: Place,
    repair: str,
    prefix: str = "v",
    pointer: str = "current",
    format_number: int | None = None,
) -> Versions:
    """The versions of an artefact at a place: a folder here, or one that an object store has.

    Args:
        place: of the versions.
        repair: hint of the error about an unreadable version, one or two sentences.
        prefix: of their names, before the number.
        pointer: name of the file with the name of the current version.
        format_number: of manifests; None = they have none.
    """
    facts = repair, prefix, pointer, format_number
    if isinstance(place, Mirror):
        return MirroredVersions(place.folder, *facts, mirror=place)
    return Versions(place, *facts)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []
