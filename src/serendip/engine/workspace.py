"""Workspace: one folder with the settings, data and artefacts of one catalogue.

::

    serendip.toml       the settings
    serendip.db         items, users and events, unless they are on a server: what is true
    cache/              vectors by content hash, also of files of posted items; converted weights
    generations/        published generations; copies of them with `[storage]`
    reports/            report.json and report.html
    training/           how far a training is, and how the last one ended
    embeddings/         exported vectors, from `serendip embed`
    synonyms.csv        pairs of words, and which of them people accepted

Everything except the settings, the database and the accepted synonyms can be rebuilt from them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from serendip.config import (
    Overrides,
    find_key,
    mask,
    normalise_key,
    read_toml,
    validate,
    variable_name,
)
from serendip.data.store.base import PATIENT_S
from serendip.data.store.config import DatabasePlace
from serendip.data.store.store import Store
from serendip.engine.config.settings import Settings
from serendip.errors import ConfigError, DataError
from serendip.runtime.sync import Place
from serendip.runtime.versions import require_nothing
from serendip.search.synonyms import Synonyms, read_synonyms

_log = logging.getLogger(__name__)

SETTINGS_FILE = "serendip.toml"


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

REPORT_JSON, REPORT_HTML = "report.json", "report.html"  # in the folder of reports


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths and settings of one folder."""

    folder: Path
    settings: Settings

    @classmethod
    def open(cls, folder: Path) -> Workspace:
        """Read the settings of a folder, and those of the environment, which override them.

        Raises:
            ConfigError: ``serendip.toml`` is missing, or it or a variable has a wrong key or value.
        """
        path = folder / SETTINGS_FILE
        overrides = Overrides.of(os.environ)
        tables = overrides.apply(read_toml(path))
        return cls(folder, validate(Settings, tables, str(path), overrides))

    @property
    def cache(self) -> Path:
        """Folder of cached vectors and converted weights."""
        return self.folder / "cache"

    @property
    def generations(self) -> Place:
        """Place of published generations."""
        return self.settings.storage.place(self.generation_folder)

    @property
    def generation_folder(self) -> Path:
        """Folder, on this machine, of published generations."""
        return self.folder / "generations"

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

        Yields what raises a ``StorageError`` if the lock was lost, see ``Database.exclusive``. Of a
        workspace on one machine the lock of a folder says the same: this one adds nothing.

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

        Raises:
            StorageError: the database is missing (reading and serving never create an empty one)
                or cannot be opened.
        """
        return Store.open(self.database, busy_timeout_s)


@dataclass(frozen=True, slots=True)
class WorkspaceLocation:
    """What a task of an executor opens the workspace of its command from.

    A task reads the settings where it runs: the file, and the environment of its machine. They must
    be those of its command, but for users and passwords, which are never sent.

    Args:
        folder: its absolute path, which is the same on all machines.
        machine: that of the command; a database that is a file is used on no other.
        digests: (name of a table of the settings, its digest without users and passwords).
    """

    folder: str
    machine: str
    digests: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, workspace: Workspace) -> Self:
        """The location of a workspace of this machine."""
        # What a task computes does not depend on [engine], which its command may have to itself.
        settings = workspace.settings.model_dump(mode="json", exclude={"engine"})
        digests = tuple((name, _digest(name, table)) for name, table in settings.items())
        return cls(os.fspath(workspace.folder.absolute()), identify_machine(), digests)

    def open(self) -> Workspace:
        """The workspace, in a task.

        Raises:
            ConfigError: the settings are not here what they are for the command. Or its database is
                a file, and this is another machine: locks of SQLite do not hold between machines,
                and what one of them reads may be half of a write.
        """
        workspace = Workspace.open(Path(self.folder))
        own = dict(WorkspaceLocation.of(workspace).digests)
        for name, digest in self.digests:
            if own.get(name) != digest:
                raise ConfigError(
                    f"[{name}] of a task on {platform.node()} is not that of its command.",
                    f"Give the variables {variable_name((name, '...'))} on each machine the values "
                    "that they have for the command, and start its node (`ray start`) anew; leave "
                    "serendip.toml as it is while a command runs.",
                )
        if isinstance(workspace.database, Path) and self.machine != identify_machine():
            raise ConfigError(
                f"{workspace.database} cannot be used by several machines.",
                "Move it to PostgreSQL by a backup and `serendip restore --database`, or leave "
                "`--engine ray` out.",
            )
        return workspace


def _digest(name: str, table: Any) -> str:
    text = json.dumps(mask(name, table), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def identify_machine() -> str:
    """The same text in all processes of this machine, those of its containers included.

    Linux has an id of each start of its kernel, with which processes also share memory; elsewhere
    it is the name and the hardware address.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"{platform.node()} {uuid.getnode():x}"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One value.

    Args:
        key: with its table, such as ``train.budget``.
        value: as in JSON; secrets are masked.
        origin: what decides it.
        source: the file, or the variable; empty for a default.
    """

    key: str
    value: Any
    origin: Literal["environment", "file", "default"]
    source: str


def read_effective_settings(folder: Path, environment: Mapping[str, str]) -> list[EffectiveSetting]:
    """All settings of a workspace, in the order of the reference; variables override the file.

    Raises:
        ConfigError: the file is missing, or it or a variable has a wrong key or value.
    """
    path, overrides = folder / SETTINGS_FILE, Overrides.of(environment)
    tables = read_toml(path)
    settings = validate(Settings, overrides.apply(tables), str(path), overrides)
    found = []
    for keys, value in _leaves(settings.model_dump(mode="json")):
        variable = overrides.variable(keys)
        is_in_file = not variable and _is_in(tables, keys)
        found.append(
            EffectiveSetting(
                ".".join(keys),
                mask(keys[-1], value),
                "environment" if variable else "file" if is_in_file else "default",
                variable or (str(path) if is_in_file else ""),
            )
        )
    return found


def _leaves(
    table: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():  # (path, value) of what is no table, or an empty one
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _is_in(tables: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(tables, Mapping):
            return True
        name = find_key(tables, normalise_key(key))
        if name not in tables:
            return False
        tables = tables[name]
    return True
