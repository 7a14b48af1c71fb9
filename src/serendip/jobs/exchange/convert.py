"""``serendip convert``: files of another engine become files that ``serendip init`` reads.

Each engine's own words are read as what they are here: what was shown is an impression, what
belongs to a request has its id. ``convert`` writes ``items.parquet``, ``events.parquet`` and
``users.parquet``, each where there is any.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serendip.data.log.event_table import tabulate_events, without_empty_columns
from serendip.errors import ConfigError, DataError, StorageError
from serendip.jobs.exchange.gorse import GorseFiles
from serendip.jobs.exchange.metarank import MetarankFiles
from serendip.jobs.exchange.open_formats import ParquetFormat
from serendip.jobs.exchange.recbole import RecBoleFiles
from serendip.jobs.exchange.rows import ForeignFiles
from serendip.jobs.exchange.ubi import UbiFiles
from serendip.runtime.atomic_files import flush_tree
from serendip.runtime.staging import is_free, put_in_place, stage

ENGINES: Mapping[str, type[ForeignFiles]] = {
    "gorse": GorseFiles,
    "metarank": MetarankFiles,
    "recbole": RecBoleFiles,
    "ubi": UbiFiles,
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion wrote.

    Args:
        out: the folder.
        items: number of items.
        users: number of users with attributes.
        events: number of events.
        left_out: why rows have no place here -> their number.
    """

    out: str
    items: int
    users: int
    events: int
    left_out: Mapping[str, int]


def convert(engine: str, paths: Sequence[Path], out: Path) -> Conversion:
    """Write items, users and events of another engine's files into a new folder.

    Args:
        engine: see ``ENGINES``.
        paths: its files; a file may have rows of several kinds.
        out: missing or empty.

    Raises:
        ConfigError: the engine is unknown, or the folder is not empty.
        DataError: rows are invalid, or there is none; nothing was written.
        StorageError: the folder cannot be written; nothing was.
    """
    if engine not in ENGINES:
        raise ConfigError(
            f"engine {engine[:40]!r} is unknown.", f"Use one of: {', '.join(ENGINES)}."
        )
    if not is_free(out):
        raise ConfigError(f"{out} is not empty.", "Give the files a folder of their own.")
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path} is not a file.", "Correct its path.")
    files = ENGINES[engine](paths)
    items, users = files.valid_items(), files.valid_users()
    events = without_empty_columns(tabulate_events(files.valid_events()))
    files.refuse_broken()
    if not (items or users or len(events)):
        raise DataError(
            f"the files have no items, users or events of {engine}.", "Check engine and files."
        )
    writer = ParquetFormat()
    try:
        with stage(out) as staged:
            if items:
                writer.write_items(staged, items)
            writer.write_users(staged, users)
            writer.write_events(staged, events)
            flush_tree(staged)
            put_in_place(staged, out)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error}.") from None
    return Conversion(os.fspath(out), len(items), len(users), len(events), dict(files.left_out))
