"""Snapshot of an engine: answers as of one moment of the store, here and in tasks of an executor.

One generation answers, with one time for all requests, and what is posted, changed or deleted after
the moment does not count. So an export is the same whoever answered what, and when.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from serendip.data.store.moment import StoreMoment
from serendip.data.store.store import Store
from serendip.engine.artefacts.generations import ITEM_VERSION, open_current
from serendip.engine.engine import Engine
from serendip.engine.workspace import Workspace, WorkspaceLocation
from serendip.runtime.scratch import scratch_folder


@dataclass(frozen=True, slots=True)
class EngineLocation:
    """What another process opens the same engine from.

    Args:
        workspace: of the engine.
        generation: name of the one that answers.
        moment: folder with the moment of the store (``StoreMoment``).
        now: Unix seconds, the time of all requests.
    """

    workspace: WorkspaceLocation
    generation: str
    moment: str
    now: float

    def open(self) -> Engine:
        """The engine, in a process of an executor, which may be given several tasks."""
        return _open_once(self)


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """An engine as of one moment.

    Args:
        engine: of this process.
        location: of the engines of others.
        users: ids of all users with events at the moment, the most active first.
    """

    engine: Engine
    location: EngineLocation
    users: Sequence[str]


@contextmanager
def open_engine_snapshot(
    workspace: Workspace, store: Store, now: float
) -> Iterator[EngineSnapshot]:
    """Open the published generation as of the present moment, in a ``with`` block.

    Args:
        workspace: of the generation.
        store: of its database.
        now: Unix seconds, the time of all requests.

    Raises:
        NotTrainedError: no generation is published.
        ArtefactError: a file of the generation is missing or altered.
        StorageError: the database cannot be read.
    """
    generation = open_current(workspace.generations)
    version, ignored = int(generation.manifest[ITEM_VERSION]), workspace.settings.actions.ignore
    with scratch_folder(workspace.training.absolute()) as folder:
        users = StoreMoment.write(store, version, folder, ignored)
        where = WorkspaceLocation.of(workspace)
        location = EngineLocation(where, generation.name, str(folder), now)
        moment = StoreMoment.open(folder)
        with closing(Engine.open_named(workspace, generation.name, lambda: now, moment)) as engine:
            yield EngineSnapshot(engine, location, users)


@lru_cache(maxsize=1)
def _open_once(location: EngineLocation) -> Engine:
    workspace = location.workspace.open()
    moment = StoreMoment.open(Path(location.moment))
    return Engine.open_named(workspace, location.generation, lambda: location.now, moment)
