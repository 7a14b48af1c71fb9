"""A workspace: one folder with everything of one catalogue.

::

    serendip.toml       the settings
    serendip.db         items and events, the only source of truth
    cache/              vectors by content hash, converted weights
    generations/        published artefacts
    semantic_ids/       versions of semantic IDs, where `serendip ids build` made them
    relevance/          versions of the relevance model, from `serendip judge distil`
    queries/            versions of suggested queries, where `serendip queries build` made them
    reports/            report.json and report.html
    embeddings/         vectors that `serendip embed` wrote
    synonyms.csv        pairs of words, and which of them people accepted

Everything but the settings, the database and what people accepted can be rebuilt from the first
two.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from serendip.config import read_toml, validate
from serendip.data.store.database import PATIENT_S
from serendip.data.store.store import Store
from serendip.engine.settings import Settings
from serendip.errors import DataError
from serendip.search.synonyms import Synonyms, read_synonyms

_log = logging.getLogger(__name__)

SETTINGS_FILE = "serendip.toml"
DATABASE_FILE = "serendip.db"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths and settings of one folder.

    Args:
        folder: the workspace.
        settings: what its ``serendip.toml`` says.
    """

    folder: Path
    settings: Settings

    @classmethod
    def open(cls, folder: Path) -> Workspace:
        """Read the settings of a folder.

        Raises:
            ConfigError: there is no ``serendip.toml``, or a key or value in it is wrong.
        """
        path = folder / SETTINGS_FILE
        return cls(folder, validate(Settings, read_toml(path), str(path)))

    @property
    def cache(self) -> Path:
        """Folder of cached vectors and converted weights."""
        return self.folder / "cache"

    @property
    def generations(self) -> Path:
        """Folder of published artefacts."""
        return self.folder / "generations"

    @property
    def semantic_ids(self) -> Path:
        """Folder of versions of semantic IDs."""
        return self.folder / "semantic_ids"

    @property
    def relevance(self) -> Path:
        """Folder of versions of the relevance model."""
        return self.folder / "relevance"

    @property
    def queries(self) -> Path:
        """Folder of versions of suggested queries."""
        return self.folder / "queries"

    @property
    def reports(self) -> Path:
        """Folder of reports."""
        return self.folder / "reports"

    @property
    def embeddings(self) -> Path:
        """Folder of exported vectors."""
        return self.folder / "embeddings"

    @property
    def synonyms(self) -> Path:
        """The table of synonyms."""
        return self.folder / "synonyms.csv"

    def accepted_synonyms(self) -> Synonyms:
        """Pairs that people accepted; none where a slip in their file makes it unreadable."""
        try:
            return Synonyms.of(read_synonyms(self.synonyms))
        except DataError as error:
            _log.warning("no synonyms are searched: %s", error)
            return Synonyms()

    @property
    def database(self) -> Path:
        """The file of items and events."""
        return self.folder / DATABASE_FILE

    def create_store(self) -> Store:
        """Open the database, made where there is none; the caller closes it. For imports alone."""
        return Store.create(self.database)

    def open_store(self, busy_timeout_s: float = PATIENT_S) -> Store:
        """Open the database that is there; the caller closes it.

        Args:
            busy_timeout_s: how long a write waits for other writers.

        Raises:
            StorageError: there is none: whoever only reads or serves never makes an empty one.
        """
        return Store.open(self.database, busy_timeout_s)
