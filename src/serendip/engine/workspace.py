"""Workspace: one folder with the settings, data and artefacts of one catalogue.

::

    serendip.toml       the settings
    serendip.db         items and the newest events, unless they are on a server
    log/                all other events; with the database, the only source of truth
    cache/              vectors by content hash, also of files of posted items; converted weights
    generations/        published generations; copies of them with `[storage]`
    relevance/          versions of the relevance model, from `serendip judge distil`
    queries/            queries that an LLM wrote, from `serendip queries build --llm`
    reports/            report.json and report.html
    training/           how far a training is, and how the last one ended
    embeddings/         exported vectors, from `serendip embed`
    synonyms.csv        pairs of words, and which of them people accepted

Everything except the settings, the database, the log and the accepted synonyms can be rebuilt from
them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from serendip.config import Overrides, find_key, mask, read_toml, validate, variable_name
from serendip.data.store.base import PATIENT_S
from serendip.data.store.config import DatabasePlace
from serendip.data.store.store import Store
from serendip.engine.config.settings import Settings
from serendip.errors import ConfigError, DataError
from serendip.runtime.machine import identify_machine
from serendip.runtime.sync import Place
from serendip.runtime.versions import require_nothing
from serendip.search.synonyms import Synonyms, read_synonyms

_log = logging.getLogger(__name__)

SETTINGS_FILE = "serendip.toml"


LIST_FOLDER = "lists"
"""Folder, in that of the relevance models, of models by labels of lists."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths and settings of one folder.

    Args:
        folder: the workspace.
        settings: contents of its ``serendip.toml``, and of the environment.
        overrides: those of the environment alone.
    """

    folder: Path
    settings: Settings
    overrides: Overrides = field(default_factory=Overrides, repr=False)

    @classmethod
    def open(cls, folder: Path, overrides: Overrides | None = None) -> Workspace:
        """Read the settings of a folder, and those of the environment, which override them.

        Args:
            folder: the workspace.
            overrides: what counts instead of the environment of this process; None = that.

        Raises:
            ConfigError: ``serendip.toml`` is missing, or it or a variable has a wrong key or value.
        """
        path = folder / SETTINGS_FILE
        overrides = Overrides.of(os.environ) if overrides is None else overrides
        tables = overrides.apply(read_toml(path))
        return cls(folder, validate(Settings, tables, str(path), overrides), overrides)

    @property
    def cache(self) -> Path:
        """Folder of cached vectors and converted weights."""
        return self.folder / "cache"

    @property
    def posted_media(self) -> Path:
        """Database of the encoded files of posted items."""
        return self.cache / "posted_media" / "files.db"

    @property
    def generations(self) -> Place:
        """Place of published generations."""
        return self.settings.storage.place(self.generation_folder)

    @property
    def generation_folder(self) -> Path:
        """Folder, on this machine, of published generations."""
        return self.folder / "generations"

    @property
    def relevance(self) -> Path:
        """Folder of versions of the relevance model."""
        return self.folder / "relevance"

    def list_relevance(self, surface: str) -> Path:
        """Folder of versions of the relevance model of a surface, by labels of its own lists."""
        return self.relevance / LIST_FOLDER / surface

    @property
    def queries(self) -> Path:
        """Folder of the queries that an LLM wrote."""
        return self.folder / "queries"

    @property
    def reports(self) -> Path:
        """Folder of reports."""
        return self.folder / "reports"

    @property
    def training(self) -> Path:
        """Folder of the running training and of how the last one ended."""
        return self.folder / "training"

    @property
    def embeddings(self) -> Path:
        """Folder of exported vectors."""
        return self.folder / "embeddings"

    @property
    def synonyms(self) -> Path:
        """File of the synonym table."""
        return self.folder / "synonyms.csv"

    def accepted_synonyms(self) -> Synonyms:
        """Abbreviations, and synonyms that people accepted.

        Of a broken file none are used, and the log has a warning.
        """
        try:
            return Synonyms.of(read_synonyms(self.synonyms))
        except DataError as error:
            _log.warning("search uses no synonyms: %s", error)
            return Synonyms.of(())

    @property
    def database(self) -> DatabasePlace:
        """The database of items and events: a file, or a URL, which nobody shows."""
        return self.settings.store.place(self.folder)

    def create_store(self) -> Store:
        """Open the database, created if missing; the caller closes it. Only imports use it."""
        return Store.create(self.database)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[Callable[[], None]]:
        """Be the only process of all machines with this database that does something.

        Yields what raises a ``StorageError`` if the lock was lost, see ``Store.exclusive``. Of a
        workspace on one machine the lock of a folder says the same: this one adds nothing.

        Args:
            name: of what is done.

        Raises:
            LockedError: another process does it.
            StorageError: the database cannot be opened.
        """
        if not self.settings.store.url:
            yield require_nothing
            return
        with closing(self.open_store()) as store, store.database.exclusive(name) as require_held:
            yield require_held

    def open_store(self, busy_timeout_s: float = PATIENT_S) -> Store:
        """Open the existing database; the caller closes it.

        Args:
            busy_timeout_s: seconds that a write waits for other writers.

        Raises:
            StorageError: the database is missing (reading and serving never create an empty one)
                or cannot be opened.
        """
        return Store.open(self.database, busy_timeout_s)


_PLACES = (("store", "url"), ("storage", "url"))
"""Settings that say where the data are, and may have passwords: each machine has its own."""


@dataclass(frozen=True, slots=True)
class WorkspaceLocation:
    """What a task of an executor opens the workspace of its command from.

    The settings of a task are those of its command: the process of the task may have been started
    with another environment. Secrets are not sent, however: the task takes them from its own
    environment, and what they give access to must be the same.

    Args:
        folder: its absolute path, which is the same on all machines.
        machine: that of the command; a database that is a file is used on no other.
        overrides: settings of the command's environment but those in ``digests``.
        digests: (path of a setting, digest of it without user and password).
    """

    folder: str
    machine: str
    overrides: Overrides = field(hash=False)
    digests: tuple[tuple[tuple[str, ...], str], ...]

    @classmethod
    def of(cls, workspace: Workspace) -> Self:
        """The location of a workspace of this machine."""
        private = workspace.overrides.select(_is_private)
        settings = workspace.settings.model_dump(mode="json")
        return cls(
            os.fspath(workspace.folder.absolute()),
            identify_machine(),
            workspace.overrides.select(lambda path, value: not _is_private(path, value)),
            tuple((path, _digest(settings, path)) for path in sorted({*_PLACES, *private.values})),
        )

    def open(self) -> Workspace:
        """The workspace, in a task.

        Raises:
            ConfigError: a variable with a secret, or with the URL of the database or the storage,
                is not here what it is for the command. Or its database is a file, and this is
                another machine: locks of SQLite do not hold between machines, and what one of them
                reads may be half of a write.
        """
        private = dict(self.digests)
        own = Overrides.of(os.environ).select(lambda path, _: path in private)
        workspace = Workspace.open(Path(self.folder), self.overrides.merge(own))
        settings = workspace.settings.model_dump(mode="json")
        for path, digest in self.digests:
            if _digest(settings, path) != digest:
                raise ConfigError(
                    f"[{path[0]}] {'.'.join(path[1:])} of a task on {platform.node()} is not that "
                    "of its command.",
                    f"Give {variable_name(path)} on each machine the value that it has for the "
                    "command, and start its node (`ray start`) anew: it is not sent, because it "
                    "may have a password.",
                )
        if isinstance(workspace.database, Path) and self.machine != identify_machine():
            raise ConfigError(
                f"{workspace.database} cannot be used by several machines.",
                "Move it to PostgreSQL with `serendip store copy` and set [store] url, or leave "
                "`--engine ray` out.",
            )
        return workspace

    def adopt(self) -> Workspace:
        """``open`` in a process that serves this workspace alone.

        From then on its environment has the settings of the command's, and the secrets of its own.

        Raises:
            ConfigError: as in ``open``.
        """
        workspace, private = self.open(), dict(self.digests)
        for path, name in Overrides.of(os.environ).variables.items():
            if path not in private:
                del os.environ[name]
        os.environ.update(self.overrides.to_environment())
        return workspace


def _is_private(path: tuple[str, ...], value: Any) -> bool:
    """Whether a setting of the environment is sent to no task."""
    return path in _PLACES or mask(path[-1], value) != value


def _digest(settings: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """Digest of a setting without user and password, which machines may have of their own."""
    value: Any = settings
    for name in path:
        value = value.get(find_key(value, name)) if isinstance(value, Mapping) else None
    text = json.dumps(mask(path[-1], value), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
