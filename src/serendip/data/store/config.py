"""``[store]``: the database of a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from serendip.config import Config

DATABASE_FILE = "serendip.db"  # in the folder of a workspace
SCHEME = "postgresql+psycopg"

DatabasePlace: TypeAlias = str | Path  # SQLite file, or secret URL of a PostgreSQL database


class StoreConfig(Config):
    """``[store]``: where items, users, keys and events are."""

    url: str = Field(default="", repr=False)
    """Of a PostgreSQL database, 15 or later: `postgresql+psycopg://user:password@host/database`.
    Empty = the file `serendip.db` in the workspace. Give a URL with a password in the variable
    `SERENDIP_STORE__URL`; or leave the password out and to libpq (`PGPASSWORD`, `~/.pgpass`)."""

    @field_validator("url")
    @classmethod
    def _is_known(cls, url: str) -> str:
        if url and (urlsplit(url).scheme != SCHEME or not urlsplit(url).path.strip("/")):
            raise ValueError(f"give {SCHEME}://user@host/database, or nothing for a file")
        return url

    def place(self, folder: Path) -> DatabasePlace:
        """The database of a workspace in this folder."""
        return self.url or folder / DATABASE_FILE
