"""The shards of a service: connections, and the indexes of a generation that are searched there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, StorageError
from serendip.models.index.ann_index import has_lists, open_vectors
from serendip.models.index.remote_shard import RemoteShard, ShardConnection
from serendip.models.index.shard_tls import ShardTls
from serendip.models.index.sharded_index import ShardedIndex
from serendip.runtime.versions import Version

_STATE_S = 5.0
"""Longest seconds in which a shard says what it has."""


def find_indexes(generation: Path) -> list[str]:
    """Folders of the indexes of a generation that have lists, relative to it."""
    folders = (path.parent for path in generation.rglob("directions.npy"))
    found = filter(has_lists, folders)
    return sorted(path.relative_to(generation).as_posix() for path in found)


def read_tls(workspace: Workspace) -> ShardTls | None:
    """Certificates of a service and its shards by the settings; None = they use none.

    Raises:
        ConfigError: a file is missing, or they do not fit each other.
    """
    serve = workspace.settings.serve
    if not serve.shard_certificate:
        return None
    names = serve.shard_certificate, serve.shard_key, serve.shard_authority
    return ShardTls.read(*(workspace.folder / name for name in names))


def opener_of(
    addresses: Sequence[str],
    deadline_s: float,
    generation: Version,
    tls: ShardTls | None = None,
) -> Callable[[Path], ShardedIndex | None]:
    """How the indexes of a generation are opened: in shards, if there are any.

    Args:
        addresses: of the shards, ``host:port``, in the order of their ranges; empty = none.
        deadline_s: seconds that a search waits for them.
        generation: that is opened.
        tls: encrypts connections to them; None = they are not encrypted.

    Raises:
        ConfigError: the shards have other ranges.
        StorageError: one cannot be reached, or does not have the generation yet.
    """
    connections = [ShardConnection(address, tls) for address in addresses]
    if not connections:
        return lambda folder: None
    with ThreadPoolExecutor(len(connections)) as pool:
        states = list(pool.map(lambda one: one.state(_STATE_S), connections))
    for part, (connection, state) in enumerate(zip(connections, states, strict=True)):
        if (state.part, state.parts) != (part, len(connections)):
            raise ConfigError(
                f"shard {connection.address} has part {state.part + 1} of {state.parts}, and is "
                f"number {part + 1} of {len(connections)} in `shards`.",
                "Start one shard for each address, in this order.",
            )
        if generation.name not in state.generations:
            raise StorageError(
                f"shard {connection.address} does not have {generation.name} yet.",
                "Nothing is to be done if it is loading it; see its log.",
            )

    def open_shards(folder: Path) -> ShardedIndex | None:
        if not has_lists(folder):
            return None  # all of so few items are compared, which this process does itself
        index = folder.relative_to(generation.folder).as_posix()
        config, vectors = open_vectors(folder)
        bounds = [len(vectors) * part // len(connections) for part in range(len(connections) + 1)]
        ranges = zip(connections, bounds[:-1], bounds[1:], strict=True)
        shards = [RemoteShard(one, generation.name, index, *bound) for one, *bound in ranges]
        return ShardedIndex(config, vectors, shards, deadline_s)

    return open_shards
