"""``serendip init``: writes the ``serendip.toml`` of a new workspace for the user's files.

Columns and settings are guessed from the column names and a sample of rows. The file has comments
and is meant to be read and edited.
"""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from serendip.data.items.catalogue import Item
from serendip.engine.workspace import SETTINGS_FILE
from serendip.errors import ConfigError, DataError
from serendip.files.config import ItemsConfig
from serendip.files.encodings import check_encoding
from serendip.files.names import TableKind, canonical_columns, is_called
from serendip.files.tables import open_table
from serendip.files.times import check_time_format
from serendip.jobs.init.attributes import ActionRoles, read_roles
from serendip.jobs.init.columns import (
    FileForm,
    SampledFile,
    guess_columns,
    guess_form,
    guess_user_columns,
)
from serendip.jobs.init.encodings import guess_encoding, is_sure
from serendip.jobs.init.settings_file import Guess, render_settings
from serendip.runtime.atomic_files import write_text

_MAX_EXAMPLE = 40
"""Characters of a text that shows a guessed encoding."""


def start_workspace(
    folder: Path,
    items: Path | None,
    events: Path | None,
    force: bool,
    map_options: Sequence[str] = (),
    users: Path | None = None,
    given: FileForm | None = None,
    now: float | None = None,
) -> dict[str, Guess]:
    """Write ``serendip.toml`` into ``folder`` for these files.

    Args:
        folder: of the workspace; created if missing.
        items: CSV, JSONL or Parquet with one item per row; None = the items that events name.
        events: the same with one event per row; None = no events yet.
        force: overwrite an existing ``serendip.toml``.
        map_options: ``timestamp=when`` or ``events.timestamp=when``: columns given by the user.
        users: the same with one user per row; None = no users file.
        given: how the files are written, as far as the user says it.
        now: Unix seconds, before which events were; None = the present.

    Returns:
        table -> guessed columns.

    Raises:
        ConfigError: ``serendip.toml`` exists, there is neither items nor events file, or an option
            of ``map_options`` or ``given`` is invalid.
        DataError: a file is missing, or a required column cannot be determined.
    """
    form = _check_form(given or FileForm())
    target = folder / SETTINGS_FILE
    if target.exists() and not force:
        raise ConfigError(f"{target} exists.", "Edit it, or add --force to overwrite it.")
    given_files: dict[TableKind, Path | None] = {"items": items, "events": events, "users": users}
    paths = {kind: path for kind, path in given_files.items() if path is not None}
    if items is None and events is None:
        raise ConfigError("there is no file to read.", "Add --items FILE or --events FILE.")
    moment = time.time() if now is None else now
    guesses = _guess_files(folder, paths, map_options, form, moment)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error}.", "Choose another folder.") from None
    sample: Sequence[Item] = ()
    if "items" in guesses:
        currencies = _read_currencies(folder, guesses["items"])
        config = ItemsConfig.model_validate(guesses["items"].settings())
        sample, roles = read_roles(config, folder, currencies)
        guesses["items"] = replace(guesses["items"], roles=roles)
    write_text(target, render_settings(folder, guesses, sample))
    return guesses


def _check_form(given: FileForm) -> FileForm:
    try:
        check_encoding(given.encoding)
        check_time_format(given.time_format)
    except ValueError as error:
        raise ConfigError(f"{error}.", "Correct --encoding or --time-format.") from None
    return given


def _read_currencies(folder: Path, guess: Guess) -> frozenset[str]:
    """Values of the columns of currencies in all rows: those of one currency may come first."""
    file = SampledFile(folder / guess.path, "items", {}, guess.form.encoding)
    columns = (name for name in guess.others if is_called(name, "currency"))
    return frozenset().union(*map(file.values, columns))


def _guess_files(
    folder: Path,
    paths: Mapping[TableKind, Path],
    map_options: Sequence[str],
    given: FileForm,
    now: float,
) -> dict[str, Guess]:
    """Table -> guessed columns of its file."""
    for kind, path in paths.items():
        if not path.is_file():
            raise DataError(f"{path} is not a file.", f"Correct the path of --{kind}.")
    encodings: dict[TableKind, str] = {}
    for kind, path in paths.items():
        first = next(filter(None, encodings.values()), "")
        encodings[kind] = given.encoding or guess_encoding(path, first)
    columns = {kind: open_table(path, encodings[kind]).columns for kind, path in paths.items()}
    user_mappings = parse_map_options(map_options, columns)
    files = {
        kind: SampledFile(path, kind, user_mappings[kind], encodings[kind], given.time_format)
        for kind, path in paths.items()
    }
    mappings = dict(
        zip(
            ("items", "events"),
            guess_columns(files.get("items"), files.get("events")),
            strict=True,
        )
    )
    if "users" in files:
        mappings["users"] = guess_user_columns(files["users"])
    guesses = {}
    for kind, path in paths.items():
        used = set(mappings[kind].values())
        others = [name for name in columns[kind] if name not in used]
        actions = None
        if kind == "events" and "action" in mappings[kind]:
            actions = ActionRoles.of(files[kind].values(mappings[kind]["action"]))
        guesses[str(kind)] = Guess(
            *(os.path.relpath(path, folder), mappings[kind], others),
            actions=actions,
            form=guess_form(files[kind], mappings[kind], now),
            example=_find_example(files[kind]) if not given.encoding else "",
        )
    return guesses


def _find_example(file: SampledFile) -> str:
    """A text of a file whose encoding few letters tell; empty = it is certain."""
    if not file.encoding or is_sure(file.path):
        return ""
    cells = [cell for column in file.cells.values() for cell in column]
    texts = [text for text in (*cells, *file.columns) if not text.isascii()]
    return " ".join(texts[0].split())[:_MAX_EXAMPLE] if texts else ""


def parse_map_options(
    map_options: Sequence[str], columns: Mapping[TableKind, Sequence[str]]
) -> dict[TableKind, dict[str, str]]:
    """Parse the values of ``--map``.

    Args:
        map_options: ``timestamp=when`` or ``events.timestamp=when``. A name without a table applies
            to every table that has the name and whose file has the column.
        columns: table -> columns of its file.

    Returns:
        table -> canonical name -> file column, for every table of ``columns``.

    Raises:
        ConfigError: not ``NAME=COLUMN``, an unknown name or table, or a name mapped twice.
        DataError: the file has no such column.
    """
    mappings: dict[TableKind, dict[str, str]] = {kind: {} for kind in columns}
    for text in map_options:
        name, _, column = text.partition("=")
        table, _, canonical = name.strip().rpartition(".")
        kinds = [
            kind for kind in columns if table in ("", kind) and canonical in canonical_columns(kind)
        ]
        if not kinds or not column:
            raise ConfigError(f"--map {text!r} is invalid.", _list_names(columns))
        matches = [kind for kind in kinds if column in columns[kind]]
        if not matches:
            raise _unknown_column(text, column, [name for kind in kinds for name in columns[kind]])
        for kind in matches:
            if canonical in mappings[kind]:
                raise ConfigError(
                    f"--map {text!r}: {kind}.{canonical} is mapped twice.", "Remove one of them."
                )
            mappings[kind][canonical] = column
    return mappings


def _list_names(columns: Mapping[TableKind, Sequence[str]]) -> str:
    names = [f"{kind}.{name}" for kind in columns for name in canonical_columns(kind)]
    return f"Write --map NAME=COLUMN, where NAME is one of {', '.join(names)}."


def _unknown_column(text: str, column: str, columns: Sequence[str]) -> DataError:
    similar = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
    present = ", ".join(dict.fromkeys(columns))
    return DataError(
        f"--map {text!r}: the file has no column {column!r}.",
        f"Did you mean {similar[0]!r}?" if similar else f"Its columns: {present}.",
    )
