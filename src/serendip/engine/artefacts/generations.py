"""Generations: immutable versions of everything that answers requests, with rollback.

The folder ``generations/`` of a workspace has one folder ``gen-<n>`` per generation, and the file
``CURRENT`` names the published one. ``runtime.versions`` describes how
publishing survives a crash. One process at a time publishes or rolls back: it locks the file
``.lock``, and the operating system releases the lock when the process ends, even by a crash.

Several machines may share them in a storage (``runtime.sync``). The folder here then has copies:
whoever asks what is in force fetches it first, and what is published is stored before it counts.

A generation that was trained after users were erased ends those that were trained before: its
publication removes them, and no rollback leads to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from serendip.errors import ArtefactError, NotTrainedError, StorageError
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.sync import Place, SharedFolder, local_folder, place_name
from serendip.runtime.versions import Version, Versions, require_nothing

_BLOCK = 1 << 20  # values of an array that are looked at together
KEEP = 3  # newest generations that are kept
# Facts of a manifest: the number of the last event that it was trained on, how often events had
# been removed from the log, and how often when the last user was erased who is not in it.
EVENT_SEQ, REMOVALS, ERASED = "event_seq", "event_removals", "erased_at_removals"
# The version of the items that it was trained on, and that at which the last item was erased that
# is not in it.
ITEM_VERSION, ERASED_ITEMS = "item_version", "erased_at_item_version"


def publish(
    generations: Place,
    write: Callable[[Path], None],
    facts: Mapping[str, Any],
    require_held: Callable[[], None] = require_nothing,
) -> Version:
    """Write a new generation with its manifest and make it current.

    ``facts`` are further keys of the manifest: positions of the data, counts, decisions. Where
    ``require_held`` raises an error, a lock that guards this was lost, and nothing changes.

    Raises:
        ArtefactError: an array that was written has a value that is no number; nothing changes.
        ConflictError: another machine that shares the storage has published meanwhile.
        StorageError: another process is publishing or rolling back there now, or the storage cannot
            be written to.
    """

    def write_numbers(folder: Path) -> None:
        write(folder)
        if found := find_nan(folder):
            raise ArtefactError(
                f"the new generation is not published: its {found}.",
                "What was in force stays. Train again, with another --seed if that is not enough.",
            )

    with exclusive_lock(local_folder(generations)):
        versions, taken = _versions(generations), list[str]()
        if isinstance(generations, SharedFolder):
            generations.require_marker(may_write=True)
            generations.in_force()
            taken = [str(manifest["name"]) for manifest in generations.manifests().values()]

        def hand_over(building: Path, name: str) -> None:
            require_held()
            if isinstance(generations, SharedFolder):
                _share(generations, building, name, require_held)

        generation = versions.publish(
            write_numbers,
            {"previous": versions.readable_name(), **facts},
            hand_over,
            taken,
        )
        with suppress(StorageError, OSError):  # It is in force; the next publication removes them.
            _remove_old(generations, generation)
    return generation


def _share(
    generations: SharedFolder, building: Path, name: str, require_held: Callable[[], None]
) -> None:
    folder = generations.store(building, name)
    try:
        require_held()
        generations.put_in_force(folder)
    except StorageError:
        with suppress(StorageError):
            if generations.in_force() != folder:  # else only the answer was lost
                generations.remove(folder)
        raise


def rollback(generations: Place, require_held: Callable[[], None] = require_nothing) -> Version:
    """Make the generation current that was current before the current one.

    Damaged generations are skipped. If the pointer ``CURRENT`` cannot be read, the newest undamaged
    generation becomes current.

    Raises:
        NotTrainedError: there is no earlier generation.
        ArtefactError: all earlier generations are damaged.
        ConflictError: another machine that shares the storage has published meanwhile.
        StorageError: another process is publishing or rolling back there now, or the storage cannot
            be reached.
    """
    stored = _fetch_all(generations)
    with exclusive_lock(local_folder(generations)):
        versions = _versions(generations)
        name = versions.readable_name()
        if name:
            names = _before(versions, name)
        elif versions.has_pointer():
            names = reversed(versions.names())
        else:
            raise _nothing_published(generations)
        if isinstance(generations, SharedFolder):  # others know of no other one
            names = filter(stored.__contains__, names)
        target = _first_sound(versions, names, name or versions.pointer)
        require_held()
        if isinstance(generations, SharedFolder):
            generations.put_in_force(stored[target.name])
        versions.make_current(target.name)
    return target


def _fetch_all(generations: Place) -> dict[str, str]:
    if not isinstance(generations, SharedFolder):
        return {}
    with suppress(ArtefactError):  # what is damaged there is passed over
        _fetch_in_force(generations)
    stored = {str(one["name"]): folder for folder, one in generations.manifests().items()}
    for folder in stored.values():
        with suppress(ArtefactError):
            generations.fetch(folder)
    return stored


def open_current(generations: Place, verify: bool = True) -> Version:
    """Open the published generation; a copy that is damaged is fetched again.

    With ``verify``, the checksums of all files are checked, and that all numbers are some.

    Raises:
        NotTrainedError: no generation is published.
        ArtefactError: the manifest is unreadable or newer than this code, or a file is missing,
            altered, not listed, or has a value that is no number.
    """
    versions = _fetch_in_force(generations)
    try:
        current = versions.current(verify)
    except ArtefactError:
        if not isinstance(generations, SharedFolder) or not (folder := generations.in_force()):
            raise
        generations.fetch(folder, is_damaged=True)
        current = versions.current(verify)
    if current is None:
        raise _nothing_published(generations)
    if verify:
        require_no_nan(current.folder)
    return current


def open_in_force(generations: Place, verify: bool = True) -> Version | None:
    """``open_current``; None if nothing is published, or it is damaged and should not stay."""
    try:
        return open_current(generations, verify)
    except (ArtefactError, NotTrainedError):
        return None


def open_named(generations: Place, name: str) -> Version:
    """Open a generation whose files another process has verified.

    Raises:
        ArtefactError: the manifest is missing, unreadable or newer than this code.
    """
    return _versions(generations).open(name, verify=False)


def open_newest(generations: Place) -> Version | None:
    """Open the newest readable generation unverified, which a rollback may have left, if any."""
    versions = _versions(generations)
    return next(_readable(versions, reversed(versions.names())), None)


def in_force_since(generations: Place) -> float:
    """Unix seconds at which the published generation was made current, by a training or a rollback.

    Raises:
        NotTrainedError: none is published.
    """
    try:
        return _versions(generations).current_since()
    except FileNotFoundError:
        raise _nothing_published(generations) from None


def open_earlier(generations: Place) -> Version:
    """Open the newest undamaged generation before the published one, which is damaged.

    Follows ``previous`` from manifest to manifest; if a manifest cannot be read, the next lower
    number is taken. The result never has a higher number than the published generation, and is one
    that was rolled back from only if an unreadable manifest hides the rollback. If the
    pointer ``CURRENT`` cannot be read, nothing is opened and people have to decide.

    Raises:
        NotTrainedError: there is no earlier generation.
        ArtefactError: all earlier generations, or the pointer, are damaged.
    """
    versions = _versions(generations)
    name = versions.current_name()
    return _first_sound(versions, _before(versions, name), name)


def current_name(generations: Place) -> str:
    """Name of the published generation, which is here then; empty = none is published."""
    return _fetch_in_force(generations).current_name()


def set_current(folder: Path, name: str) -> None:
    """Set the pointer in a copy of generations."""
    _versions(folder).make_current(name)


def _versions(generations: Place) -> Versions:
    repair = "Run `serendip rollback`, or train again."
    return Versions(local_folder(generations), repair, "gen-", "CURRENT", 4)


def _fetch_in_force(generations: Place) -> Versions:
    """The generations here, after what a storage has in force has been fetched.

    Raises:
        StorageError: the storage cannot be reached, and nothing is published here.
    """
    versions = _versions(generations)
    if not isinstance(generations, SharedFolder):
        return versions
    try:
        name = generations.fetch_in_force()
        is_new = bool(name) and name != versions.readable_name()
        if is_new:
            versions.make_current(name)
    except (StorageError, OSError):  # the latter: this disk takes no writes
        if not versions.has_pointer():
            raise
        return versions
    if is_new:
        for old in _outdated(versions, versions.open(name, verify=False)):
            with suppress(FileNotFoundError):  # another process of this machine removed it
                versions.remove(old)
    return versions


def _nothing_published(generations: Place) -> NotTrainedError:
    return NotTrainedError(
        f"no generation is published in {place_name(generations)}.", "Run `serendip train` first."
    )


def _readable(versions: Versions, names: Iterable[str]) -> Iterator[Version]:
    for name in names:
        with suppress(ArtefactError):
            yield versions.open(name, verify=False)


def _first_sound(versions: Versions, names: Iterator[str], current: str) -> Version:
    """Open the first undamaged generation: its files are as its manifest says, and have numbers."""
    damage: ArtefactError | None = None
    for name in names:
        try:
            version = versions.open(name)
            require_no_nan(version.folder)
        except ArtefactError as error:
            damage = damage or error
        else:
            return version
    if damage is not None:
        raise damage
    raise NotTrainedError(
        f"{current} is the oldest generation in {versions.folder} that may be in force.",
        "Train again to publish a newer one.",
    )


def _before(versions: Versions, name: str) -> Iterator[str]:
    while name := _name_before(versions, name):
        yield name


def _name_before(versions: Versions, current: str) -> str:
    """Name of the generation to roll back to; empty = there is none.

    That is ``previous`` of the manifest, else the next lower number.
    """
    number = versions.number
    older = [name for name in versions.names() if number(name) < number(current)]
    try:
        manifest = versions.read_manifest(current)
    except ArtefactError:
        return max(older, key=number, default="")
    ended = _ended_by(versions, current, manifest)
    older = [name for name in older if name not in ended]
    previous = str(manifest.get("previous", ""))
    return previous if previous in older else max(older, key=number, default="")


def _is_ended(manifest: Mapping[str, Any], by: Mapping[str, Any]) -> bool:
    # Whether it may have users or items that were erased before another one.
    pairs = ((ERASED, REMOVALS), (ERASED_ITEMS, ITEM_VERSION))
    limits = {present: int(by.get(erased, 0)) for erased, present in pairs}
    return any(limit and int(manifest.get(key, 0)) < limit for key, limit in limits.items())


def _ended_by(versions: Versions, current: str, manifest: Mapping[str, Any]) -> set[str]:
    others = set(versions.names()) - {current}
    return {name for name in others if _is_ended(_facts(versions, name), manifest)}


def with_erased(generations: Place, limit: int, fact: str = REMOVALS) -> list[str]:
    """Names of the generations that may have learned from an erased user or item, oldest first.

    Those of a storage are among them, if it can be reached.

    ``limit`` is the number of removals of the log, or version of the items, at which it was erased;
    the fact of the manifest, ``REMOVALS`` or ``ITEM_VERSION``, is below it then.
    """
    versions = _versions(generations)
    found = [(name, _facts(versions, name)) for name in versions.names()]
    if isinstance(generations, SharedFolder):
        with suppress(StorageError):
            found += [(str(one["name"]), one) for one in generations.manifests().values()]
    below = {name for name, manifest in found if int(manifest.get(fact, 0)) < limit}
    return sorted(below, key=versions.number)


def _facts(versions: Versions, name: str) -> Mapping[str, Any]:
    try:
        return versions.read_manifest(name)
    except ArtefactError:
        return {REMOVALS: -1, ITEM_VERSION: -1}  # it knows of no erasure


def _remove_old(generations: Place, current: Version) -> None:
    """Remove all but the newest generations, the current one and the target of a rollback.

    Those that an erasure ended go, too; so do their like in a storage.
    """
    versions = _versions(generations)
    for name in _outdated(versions, current):
        versions.remove(name)
    if isinstance(generations, SharedFolder):
        stored = generations.manifests()
        kept = {current.name, str(current.manifest.get("previous"))}
        newest = list(stored)[-KEEP:]
        for folder, manifest in stored.items():
            is_kept = folder in newest or manifest["name"] in kept
            is_ended = _is_ended(manifest, current.manifest)
            if manifest["name"] != current.name and (is_ended or not is_kept):
                generations.remove(folder)


def _outdated(versions: Versions, current: Version) -> list[str]:
    ended = _ended_by(versions, current.name, current.manifest)
    kept = {current.name, _name_before(versions, current.name), *versions.names()[-KEEP:]}
    return [name for name in versions.names() if name not in kept or name in ended]


def find_nan(folder: Path) -> str:
    """File and place of the first value that is no number below a folder; empty = there is none.

    Raises:
        ArtefactError: an array cannot be read.
    """
    for path in sorted(folder.rglob("*.npy")):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ArtefactError(f"{path} has no readable array: {error}.") from None
        if array.dtype.kind != "f":
            continue
        values = array.reshape(-1)
        for begin in range(0, len(values), _BLOCK):
            found = np.flatnonzero(np.isnan(values[begin : begin + _BLOCK]))
            if len(found):
                place = np.unravel_index(begin + int(found[0]), array.shape)
                return f"{path.relative_to(folder)} has NaN at {tuple(map(int, place))}"
    return ""


def require_no_nan(folder: Path) -> None:
    """Check that no array of floats of a generation has a value that is no number.

    Raises:
        ArtefactError: one has, or cannot be read.
    """
    hint = "Run `serendip rollback`, or train again."
    try:
        found = find_nan(folder)
    except ArtefactError as error:
        raise ArtefactError(error.message, hint) from None
    if found:
        raise ArtefactError(f"{folder}/{found}.", hint)
