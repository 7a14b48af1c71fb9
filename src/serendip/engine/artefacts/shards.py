"""The shards of a service: connections, and the indexes of a generation that are searched there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, SerendipError, StorageError
from serendip.models.index.ann_index import has_lists, open_vectors
from serendip.models.index.remote_shard import RemoteShard, ShardConnection, ShardState
from serendip.models.index.shard_tls import ShardTls
from serendip.models.index.sharded_index import ShardedIndex
from serendip.runtime.budget import parse_duration
from serendip.runtime.versions import Version

_log = logging.getLogger(__name__)

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


class ShardGroup:
    """The shards that search the indexes of one generation.

    Args:
        addresses: of the shards, ``host:port``, in the order of their ranges; at least one.
        deadline_s: seconds that a search waits for them.
        generation: that they search.
        tls: encrypts connections to them; None = they are not encrypted.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        deadline_s: float,
        generation: Version,
        tls: ShardTls | None = None,
    ) -> None:
        self._connections = [ShardConnection(address, tls) for address in addresses]
        self._deadline_s, self._generation = deadline_s, generation

    @classmethod
    def of(cls, workspace: Workspace, generation: Version) -> ShardGroup | None:
        """Those of the settings, for a generation; None = there are none.

        Raises:
            ConfigError: a file of the certificates is missing, or they do not fit each other.
        """
        serve = workspace.settings.serve
        if not serve.shards:
            return None
        deadline_s = parse_duration(serve.shard_deadline)
        return cls(serve.shards, deadline_s, generation, read_tls(workspace))

    @classmethod
    def open(cls, workspace: Workspace, generation: Version) -> ShardGroup | None:
        """``of``, if some of them answer and those fit.

        Raises:
            ConfigError: as in ``of``, or a shard has another range.
            StorageError: as in ``require_some``.
        """
        group = cls.of(workspace, generation)
        if group is not None:
            group.require_some()
        return group

    @property
    def missing(self) -> tuple[str, ...]:
        """Addresses of the shards that did not answer when they were last asked."""
        return tuple(one.address for one in self._connections if one.problem)

    def find_problems(self) -> list[SerendipError | None]:
        """Ask each shard what it has; what is wrong with it, None = nothing.

        Returns:
            in the order of the addresses: a ``ConfigError`` if it has another range, a
            ``StorageError`` if it cannot be reached or lacks the generation.
        """
        with ThreadPoolExecutor(len(self._connections)) as pool:
            return list(pool.map(self._find_problem, range(len(self._connections))))

    def require_some(self) -> None:
        """Refuse shards that do not fit; those that do not answer are left out, unless all do.

        A shard that is left out is asked again by searches, and says of each question whether it
        has the range that it is asked for.

        Raises:
            ConfigError: one has another range.
            StorageError: none can be reached, or one does not have the generation yet.
        """
        problems = self.find_problems()
        gone = [one.problem for one in self._connections if one.problem]
        if gone and len(gone) == len(problems):
            raise StorageError(
                f"none of {len(gone)} shards of [serve] shards answers: {' '.join(gone)}",
                "Start `serendip shard` at one of these addresses, or take `shards` away: the "
                "indexes are then searched here.",
            )
        for problem, connection in zip(problems, self._connections, strict=True):
            if problem is not None and not connection.problem:
                raise problem
        for told in gone:
            _log.warning("%s It is left out until it does; answers are named degraded.", told)

    def open_index(self, folder: Path) -> ShardedIndex | None:
        """The index of a folder in these shards; None = this process searches it itself."""
        if not has_lists(folder):
            return None  # all of so few items are compared, which this process does itself
        index = folder.relative_to(self._generation.folder).as_posix()
        config, vectors = open_vectors(folder)
        parts = len(self._connections)
        bounds = [len(vectors) * part // parts for part in range(parts + 1)]
        ranges = zip(self._connections, bounds[:-1], bounds[1:], strict=True)
        shards = [RemoteShard(one, self._generation.name, index, *bound) for one, *bound in ranges]
        return ShardedIndex(config, vectors, shards, self._deadline_s)

    def _find_problem(self, part: int) -> SerendipError | None:
        """What is wrong with the shard of a range."""
        connection = self._connections[part]
        try:
            state = connection.state(_STATE_S)
        except StorageError as error:
            return error
        return self._find_misfit(part, connection.address, state)

    def _find_misfit(self, part: int, address: str, state: ShardState) -> SerendipError | None:
        """What is wrong with what a shard has."""
        parts, name = len(self._connections), self._generation.name
        if (state.part, state.parts) != (part, parts):
            return ConfigError(
                f"shard {address} has part {state.part + 1} of {state.parts}, and is "
                f"number {part + 1} of {parts} in `shards`.",
                "Start one shard for each address, in this order.",
            )
        if name not in state.generations:
            return StorageError(
                f"shard {address} does not have {name} yet.",
                "Nothing is to be done if it is loading it; see its log.",
            )
        return None
