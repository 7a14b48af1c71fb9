"""Generations: the versions of all that a service answers from, and the way back to an older one.

In a workspace's ``generations/`` they are called ``gen-<n>``, and ``CURRENT`` says which one is
published; ``data.versions`` tells how a crash is survived. One process at a time publishes or
rolls back: it holds the lock of ``.lock``, which the operating system gives back when the process
ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serendip.data.durable import alone
from serendip.data.versions import Version, Versions
from serendip.errors import NotTrainedError

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
    with alone(generations):
        versions = _versions(generations)
        generation = versions.publish(write, {"previous": versions.current_name(), **facts})
        _remove_old(versions, generation)
    return generation


def rollback(generations: Path) -> Version:
    """Make the generation that was current before the current one current again.

    Raises:
        NotTrainedError: there is none before it.
        StorageError: another process publishes or rolls back there now.
    """
    with alone(generations):
        versions = _versions(generations)
        current = open_current(generations, verify=False)
        name = _name_before(versions, current)
        if not name:
            raise NotTrainedError(
                f"{current.name} is the oldest generation in {generations}.",
                "Train again to publish a newer one.",
            )
        target = versions.open(name)
        versions.make_current(name)
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
        raise NotTrainedError(
            f"no generation is published in {generations}.", "Run `serendip train` first."
        )
    return current


def current_name(generations: Path) -> str:
    """Name of the published generation; empty where none is."""
    return _versions(generations).current_name()


def _versions(generations: Path) -> Versions:
    repair = "Run `serendip rollback`, or train again."
    return Versions(generations, repair, prefix="gen-", pointer="CURRENT", format=1)


def _name_before(versions: Versions, current: Version) -> str:
    """The generation to go back to, of those that are left; empty where there is none."""
    number = versions.number
    older = [name for name in versions.names() if number(name) < number(current.name)]
    previous = str(current.manifest.get("previous", ""))
    return previous if previous in older else max(older, key=number, default="")


def _remove_old(versions: Versions, current: Version) -> None:
    """Remove all but the newest ones, the current one and the one that rollback goes back to."""
    kept = {current.name, _name_before(versions, current)}
    for name in versions.names()[:-KEEP]:
        if name not in kept:
            versions.remove(name)
