"""Workspace: one folder with the settings, data and artefacts of one catalogue.

::

    serendip.toml       the settings
    serendip.db         items and the newest events, unless they are on a server
    log/                all other events; with the database, the only source of truth
    cache/              vectors by content hash, also of files of posted items; converted weights
    generations/        published generations; copies of them with `[storage]`
    semantic_ids/       versions of semantic IDs, from `serendip ids build`; copies, too
    relevance/          versions of the relevance model, from `serendip judge distil`; copies, too
    queries/            versions of suggested queries, from `serendip queries build`; copies, too
    reports/            report.json and report.html
    training/           how far a training is, and how the last one ended
    embeddings/         exported vectors, from `serendip embed`
    synonyms.csv        pairs of words, and which of them people accepted

Everything except the settings, the database, the log and the accepted synonyms can be rebuilt from
them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from serendip.config import Overrides, read_toml, validate
from serendip.data.objects.mirror import Place
from serendip.data.store.config import DatabasePlace
from serendip.data.store.database import PATIENT_S
from serendip.data.store.store import LOG_FOLDER, Store
from serendip.engine.config.settings import Settings
from serendip.errors import ConfigError, DataError
from serendip.runtime.machine import identify_machine
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
    """

    folder: Path
    settings: Settings

    @classmethod
    def open(cls, folder: Path) -> Workspace:
        """Read the settings of a folder, and those of the environment, which override them.

        Raises:
            ConfigError: ``serendip.toml`` is missing, or it or a variable has a wrong key or value.
        """
        path, overrides = folder / SETTINGS_FILE, Overrides.of(os.environ)
        tables = overrides.apply(read_toml(path))
        return cls(folder, validate(Settings, tables, str(path), overrides))

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
        return self._place("generations", self.settings.storage.copies_gib)

    @property
    def generation_folder(self) -> Path:
        """Folder, on this machine, of published generations."""
        return self.folder / "generations"

    @property
    def log(self) -> Place:
        """Place of the segments of the event log."""
        return self._place(LOG_FOLDER)

    def _place(self, name: str, copies_gib: float | None = None) -> Place:
        return self.settings.storage.place(self.folder, name, copies_gib)

    @property
    def semantic_ids(self) -> Place:
        """Place of versions of semantic IDs."""
        return self._place("semantic_ids")

    @property
    def relevance(self) -> Place:
        """Place of versions of the relevance model."""
        return self._place("relevance")

    def list_relevance(self, surface: str) -> Place:
        """Place of versions of the relevance model of a surface, by labels of its own lists."""
        return self._place(f"relevance/{LIST_FOLDER}/{surface}")

    @property
    def queries(self) -> Place:
        """Place of versions of suggested queries."""
        return self._place("queries")

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
        """Synonyms that people accepted; none, and a warning in the log, if the file is broken."""
        try:
            return Synonyms.of(read_synonyms(self.synonyms))
        except DataError as error:
            _log.warning("search uses no synonyms: %s", error)
            return Synonyms()

    @property
    def database(self) -> DatabasePlace:
        """The database of items and events: a file, or a URL, which nobody shows."""
        return self.settings.store.place(self.folder)

    def create_store(self) -> Store:
        """Open the database, created if missing; the caller closes it. Only imports use it."""
        return Store.create(self.database, self.log)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Be the only process of all machines with this database that does something.

        Of a workspace on one machine the lock of a folder says the same: this one adds nothing.

        Args:
            name: of what is done.

        Raises:
            LockedError: another process does it.
            StorageError: the database cannot be opened.
        """
        if not self.settings.store.url:
            yield
            return
        with closing(self.open_store()) as store, store.exclusive(name):
            yield

    def open_store(self, busy_timeout_s: float = PATIENT_S) -> Store:
        """Open the existing database; the caller closes it.

        Args:
            busy_timeout_s: seconds that a write waits for other writers.

        Raises:
            StorageError: the database is missing (reading and serving never create an empty one)
                or cannot be opened.
        """
        return Store.open(self.database, busy_timeout_s, self.log)


@dataclass(frozen=True, slots=True)
class WorkspaceLocation:
    """What a task of an executor opens the workspace of its command from.

    Args:
        folder: its absolute path, which is the same on all machines.
        machine: that of the command; a database that is a file is used on no other.
    """

    folder: str
    machine: str

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The location of a workspace of this machine."""
        return cls(os.fspath(folder.absolute()), identify_machine())

    def open(self) -> Workspace:
        """The workspace, in a task.

        Raises:
            ConfigError: its database is a file, and this is another machine: locks of SQLite do not
                hold between machines, and what one of them reads may be half of a write.
        """
        workspace = Workspace.open(Path(self.folder))
        if isinstance(workspace.database, Path) and self.machine != identify_machine():
            raise ConfigError(
                f"{workspace.database} cannot be used by several machines.",
                "Move it to PostgreSQL with `serendip store copy` and set [store] url, or leave "
                "`--engine ray` out.",
            )
        return workspace
