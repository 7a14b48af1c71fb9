"""``serendip init``: from two files to a workspace that can be trained.

Reads only the columns and a sample of rows, guesses what they mean, and writes one TOML file with
comments. Guesses are shown and can be edited; nothing is decided in hiding.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from serendip.content.encoders.media_files import resolve_workspace_file
from serendip.data.event import Event
from serendip.data.files.columns import TableKind, canonical_columns, fold
from serendip.data.files.readers import EventsConfig, ItemsConfig, read_events, read_items
from serendip.data.files.tables import open_table
from serendip.data.item import Item
from serendip.data.text import looks_like_library_style
from serendip.engine.workspace import SETTINGS_FILE
from serendip.errors import ConfigError, DataError
from serendip.jobs.init.cell_kinds import Kind, column_kind
from serendip.jobs.init.guess_columns import SAMPLE, SampledFile, understand
from serendip.runtime.atomic_files import write_text

MAX_TEXT_FIELDS = 6
MIN_FILLED = 0.3
"""Share of the items that must have an attribute for it to be encoded."""

_FILES_TRIED = 20
_MEDIA: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {"image": ("image", "pictures"), "sound": ("audio", "sounds")}
)

_RATING_COLUMNS = frozenset({"rating", "ratings", "score", "stars", "overall"})
_RATING_ACTIONS = frozenset({"rate", "rated", "rating", "review"})


@dataclass(frozen=True, slots=True)
class Guess:
    """What a file seems to hold.

    Args:
        path: relative to the workspace.
        mapping: canonical column -> file column.
        others: file columns without a canonical name.
    """

    path: str
    mapping: Mapping[str, str]
    others: Sequence[str]


def start_workspace(
    folder: Path, items: Path, events: Path | None, force: bool, said: Sequence[str] = ()
) -> dict[str, Guess]:
    """Write ``serendip.toml`` into ``folder`` for these files.

    Args:
        folder: the workspace (created).
        items: CSV, JSONL or Parquet with one item per row.
        events: the same with one event per row; None = no events yet.
        force: overwrite a ``serendip.toml`` that is there.
        said: ``timestamp=when`` or ``events.timestamp=when``: columns that need no guess.

    Returns:
        the guesses by table.

    Raises:
        ConfigError: ``serendip.toml`` is there already, or ``said`` is not understood.
        DataError: a file is missing, or a column that is needed cannot be told.
    """
    target = folder / SETTINGS_FILE
    if target.exists() and not force:
        raise ConfigError(f"{target} exists.", "Edit it, or add --force to overwrite it.")
    paths: dict[TableKind, Path] = {"items": items}
    if events is not None:
        paths["events"] = events
    guesses = _guesses(folder, paths, said)
    folder.mkdir(parents=True, exist_ok=True)  # paths of the settings are read from here
    write_text(target, _toml(folder, guesses))
    return guesses


def _guesses(
    folder: Path, paths: Mapping[TableKind, Path], said: Sequence[str]
) -> dict[str, Guess]:
    for kind, path in paths.items():
        if not path.is_file():
            raise DataError(f"{path} is not a file.", f"Check what --{kind} names.")
    columns = {kind: open_table(path).columns for kind, path in paths.items()}
    given = given_columns(said, columns)
    files = {kind: SampledFile(path, kind, given[kind]) for kind, path in paths.items()}
    mappings = dict(
        zip(("items", "events"), understand(files["items"], files.get("events")), strict=True)
    )
    guesses = {}
    for kind, path in paths.items():
        used = set(mappings[kind].values())
        others = [name for name in columns[kind] if name not in used]
        guesses[str(kind)] = Guess(os.path.relpath(path, folder), mappings[kind], others)
    return guesses


def given_columns(
    said: Sequence[str], columns: Mapping[TableKind, Sequence[str]]
) -> dict[TableKind, dict[str, str]]:
    """What ``--map`` says, by table.

    Args:
        said: ``timestamp=when`` or ``events.timestamp=when``. A name without a table counts for
            every table that knows it and whose file has the column.
        columns: table -> columns of its file.

    Returns:
        table -> canonical name -> file column, for every table of ``columns``.

    Raises:
        ConfigError: no ``NAME=COLUMN``, an unknown name or table, or a name said twice.
        DataError: the file has no such column.
    """
    given: dict[TableKind, dict[str, str]] = {kind: {} for kind in columns}
    for text in said:
        name, _, column = text.partition("=")
        table, _, canonical = name.strip().rpartition(".")
        kinds = [
            kind for kind in columns if table in ("", kind) and canonical in canonical_columns(kind)
        ]
        if not kinds or not column:
            raise ConfigError(f"--map {text!r} is not understood.", _known_names(columns))
        holding = [kind for kind in kinds if column in columns[kind]]
        if not holding:
            raise _no_such_column(text, column, [one for kind in kinds for one in columns[kind]])
        for kind in holding:
            if canonical in given[kind]:
                raise ConfigError(f"--map {text!r}: {kind}.{canonical} is said twice.", "Keep one.")
            given[kind][canonical] = column
    return given


def _known_names(columns: Mapping[TableKind, Sequence[str]]) -> str:
    names = [f"{kind}.{name}" for kind in columns for name in canonical_columns(kind)]
    return f"Write --map NAME=COLUMN, where NAME is one of {', '.join(names)}."


def _no_such_column(text: str, column: str, columns: Sequence[str]) -> DataError:
    close = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
    found = ", ".join(dict.fromkeys(columns))
    return DataError(
        f"--map {text!r}: there is no column {column!r}.",
        f"Did you mean {close[0]!r}?" if close else f"Found: {found}.",
    )


def text_fields(items: Sequence[Item]) -> list[str]:
    """Fields whose words say what an item is: title, description, attributes that hold words.

    Columns of paths, links, addresses, codes, numbers (also prices such as "12,50 €") and dates
    are left out, and those that are mostly empty.
    """
    fields = [name for name in ("title", "description") if any(i.field_text(name) for i in items)]
    for name in dict.fromkeys(name for item in items for name in item.attributes):
        cells = _cells(name, items)
        if len(cells) >= MIN_FILLED * len(items) and not column_kind(name, cells):
            fields.append(name)
    return fields[:MAX_TEXT_FIELDS] or ["title"]


def _cells(name: str, items: Sequence[Item]) -> list[str]:
    """Filled cells of an attribute; of a list its first word, which speaks for the others."""
    values = [item.attributes.get(name, "") for item in items]
    firsts = [value[0] if isinstance(value, tuple) else value for value in values if value]
    return [
        cell
        for value in firsts
        if (cell := (value if isinstance(value, str) else f"{value:g}").strip())
    ]


def media_lines(folder: Path, items_path: Path, items: Sequence[Item]) -> list[str]:
    """Comments that say how to encode the pictures and sounds that a column names.

    They are no settings yet: the packages may be missing, and encoding takes its time.
    """
    lines = []
    for name in dict.fromkeys(name for item in items for name in item.attributes):
        cells = _cells(name, items)
        table, what = _MEDIA.get(column_kind(name, cells), ("", ""))
        inside = _any_file(folder, cells)
        if not table or not (inside or _any_file(items_path.parent, cells)):
            continue
        lines += ["", f"# The column {_quoted(name)} names {what}. To learn from them, too, run"]
        lines.append(f'# `pip install "serendip[{table}]"` and take the "#" off these lines:')
        if not inside:
            lines.append("# (paths are relative to this folder: put the files into it first)")
        lines += [f"# [content.{table}]", f"# field = {_quoted(name)}"]
    return lines


def _any_file(folder: Path, cells: Sequence[str]) -> bool:
    """Whether one of the first cells names a file below a folder."""
    for cell in cells[:_FILES_TRIED]:
        try:
            resolve_workspace_file(folder, cell)
        except DataError:
            continue
        return True
    return False


def like_threshold(values: Sequence[float]) -> float | None:
    """80 % of the highest value where values are a scale up to 10; None where they are not."""
    highest = max(values, default=0.0)
    return round(0.8 * highest, 2) if len(set(values)) > 1 and 0 < highest <= 10 else None


def dislike_threshold(ratings: Sequence[float]) -> float | None:
    """40 % of the highest rating; None where values are no ratings, or where 0 or less is among
    them: that may be the worst rating or none at all.
    """
    if like_threshold(ratings) is None or min(ratings) <= 0:
        return None
    return round(0.4 * max(ratings), 2)


def _toml(folder: Path, guesses: Mapping[str, Guess]) -> str:
    items, events = guesses["items"], guesses.get("events")
    config = ItemsConfig(path=items.path, columns=dict(items.mapping))
    sample = list(islice(read_items(config, folder), SAMPLE))
    library = looks_like_library_style([item.title for item in sample])
    lines = [
        "# Settings of this workspace. Every key has a default; unknown keys are errors.",
        "",
        "[items]",
        f"path = {_quoted(items.path)}",
        f"title_style = {_quoted('library' if library else 'plain')}"
        '     # "library": "Matrix, The (1999)" is shown as "The Matrix"',
        'list_separator = "|"      # splits cells such as "Drama|Romance"',
        *_columns("items", items),
    ]
    if events is not None:
        lines += _events_lines(folder, events)
    lines += [
        "",
        "[content]",
        "# The fields whose words say what an item is; they are encoded and searched.",
        f"fields = [{', '.join(map(_quoted, text_fields(sample)))}]",
        *media_lines(folder, folder / items.path, sample),
    ]
    return "\n".join(lines) + "\n"


def _events_lines(folder: Path, events: Guess) -> list[str]:
    config = EventsConfig(path=events.path, columns=dict(events.mapping))
    rows = list(islice(read_events(config, folder), SAMPLE))
    rated = "value" in events.mapping and "action" not in events.mapping
    lines = [
        "",
        "[events]",
        f"path = {_quoted(events.path)}",
        f"default_action = {_quoted('rate' if rated else 'click')}"
        "     # the action of rows that name none",
        *_columns("events", events),
    ]
    return lines + _actions_lines(rows, events)


def _actions_lines(rows: Sequence[Event], events: Guess) -> list[str]:
    """What values mean. Only ratings can be dislikes: a low amount or count is none."""
    values = [event.value for event in rows if event.value is not None]
    like = like_threshold(values)
    if like is None:
        return []
    lines = ["", "[actions]", f"like_at_least = {like}     # from this value on: a like"]
    is_named = fold(events.mapping.get("value", "")) in _RATING_COLUMNS
    actions = {event.action for event in rows if event.value is not None}
    is_rating = is_named or ("action" in events.mapping and actions <= _RATING_ACTIONS)
    dislike = dislike_threshold(values)
    if dislike is not None:
        says = "up to this value: a dislike, which is no interest"
        start = "" if is_rating else "# "
        note = says if is_rating else f"if values are ratings: {says}"
        lines.append(f"{start}dislike_at_most = {dislike}     # {note}")
    return lines


def _columns(table: str, guess: Guess) -> list[str]:
    lines = ["", f"[{table}.columns]     # Serendip's word = your column"]
    lines += [f"{name} = {_quoted(column)}" for name, column in guess.mapping.items()]
    others = [" ".join(name.split()) for name in guess.others]  # a comment is one line
    if others and table == "items":
        lines.append(f"# kept as attributes: {', '.join(others)}")
    elif others:
        lines.append(f"# not used: {', '.join(others)}")
    return lines


def _quoted(text: str) -> str:
    """A TOML basic string; JSON escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False)
