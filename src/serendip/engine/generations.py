"""Generations: the versions of all that a service answers from, and the way back to an older one.

In a workspace's ``generations/`` they are called ``gen-<n>``, and ``CURRENT`` says which one is
published; ``runtime.versions`` tells how a crash is survived. One process at a time publishes or
rolls back: it holds the lock of ``.lock``, which the operating system gives back when the process
ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from serendip.errors import ArtefactError, NotTrainedError
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.versions import Version, Versions

KEEP = 3


def publish(generations: Path, write: Callable[[Path], None], facts: Mapping[str, Any]) -> Version:
    """Write, check in and make current a new generation.

    Args:
        generations: the workspace's folder of generations (created).
        write: fills an empty folder with artefacts.
        facts: what the manifest tells beside the checksums: data cut, counts, gates.

    Raises:
        StorageError: another process publishes or rolls back there now.
    """
    with exclusive_lock(generations):
        versions = _versions(generations)
        generation = versions.publish(write, {"previous": versions.readable_name(), **facts})
        _remove_old(versions, generation)
    return generation


def rollback(generations: Path) -> Version:
    """Make the generation that was current before the current one current again.

    One that is damaged is passed over. Where the pointer itself cannot be read, the newest sound
    generation becomes current.

    Raises:
        NotTrainedError: there is none before it.
        ArtefactError: all before it are damaged.
        StorageError: another process publishes or rolls back there now.
    """
    with exclusive_lock(generations):
        versions = _versions(generations)
        name = versions.readable_name()
        if name:
            target = _first_sound(versions, _before(versions, name), name)
        elif (generations / versions.pointer).exists():
            target = _first_sound(versions, reversed(versions.names()), versions.pointer)
        else:
            raise _nothing_published(generations)
        versions.make_current(target.name)
    return target


def open_current(generations: Path, verify: bool = True) -> Version:
    """The published generation.

    Raises:
        NotTrainedError: none is published.
        ArtefactError: the manifest is unreadable or newer than this code, or a file is missing,
            altered or not listed.
    """
    current = _versions(generations).current(verify)
    if current is None:
        raise _nothing_published(generations)
    return current


def open_earlier(generations: Path) -> Version:
    """The generation to answer from while the published one is damaged: the newest sound one.

    That is the one that was in force before it, as its manifest says, or the one before that, and
    so on; where a manifest cannot be read, the next lower number. So it is never one with a higher
    number than the published one, and one that somebody rolled back from only where the damage
    has taken what tells so. A pointer that cannot be read says nothing: people decide then.

    Raises:
        NotTrainedError: there is none before it.
        ArtefactError: all before it are damaged, or the pointer is.
    """
    versions = _versions(generations)
    name = versions.current_name()
    return _first_sound(versions, _before(versions, name), name)


def current_name(generations: Path) -> str:
    """Name of the published generation; empty where none is."""
    return _versions(generations).current_name()


def files_state(generations: Path, name: str) -> Hashable:
    """A value that changes whenever a file of a generation is written, added or removed."""
    found = []
    for path in sorted((generations / name).rglob("*")):
        with suppress(OSError):  # removed meanwhile
            status = path.stat()
            found.append((str(path), status.st_ino, status.st_size, status.st_ctime_ns))
    return tuple(found)


def _versions(generations: Path) -> Versions:
    repair = "Run `serendip rollback`, or train again."
    return Versions(generations, repair, prefix="gen-", pointer="CURRENT", format=1)


def _nothing_published(generations: Path) -> NotTrainedError:
    return NotTrainedError(
        f"no generation is published in {generations}.", "Run `serendip train` first."
    )


def _first_sound(versions: Versions, names: Iterator[str], current: str) -> Version:
    """The first of some generations whose files are as their manifest says."""
    damage: ArtefactError | None = None
    for name in names:
        try:
            return versions.open(name)
        except ArtefactError as error:
            damage = damage or error
    if damage is not None:
        raise damage
    raise NotTrainedError(
        f"{current} is the oldest generation in {versions.folder}.",
        "Train again to publish a newer one.",
    )


def _before(versions: Versions, name: str) -> Iterator[str]:
    """The generations to go back to, one after the other."""
    while name := _name_before(versions, name):
        yield name


def _name_before(versions: Versions, current: str) -> str:
    """The generation to go back to, of those that are left; empty where there is none."""
    number = versions.number
    older = [name for name in versions.names() if number(name) < number(current)]
    try:
        previous = str(versions.open(current, verify=False).manifest.get("previous", ""))
    except ArtefactError:
        previous = ""
    return previous if previous in older else max(older, key=number, default="")


def _remove_old(versions: Versions, current: Version) -> None:
    """Remove all but the newest ones, the current one and the one that rollback goes back to."""
    kept = {current.name, _name_before(versions, current.name)}
    for name in versions.names()[:-KEEP]:
        if name not in kept:
            versions.remove(name)
