"""``serendip init``: from two files to a workspace that can be trained.

Reads only the columns and a sample of rows, guesses what they mean, and writes one TOML file with
comments. Guesses are shown and can be edited; nothing is decided in hiding.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from serendip.data.columns import REQUIRED, TableKind, guess_mapping
from serendip.data.item import Item
from serendip.data.readers import EventsConfig, ItemsConfig, read_events, read_items
from serendip.data.tables import open_table
from serendip.data.title import looks_like_library_style
from serendip.engine.workspace import SETTINGS_FILE
from serendip.errors import ConfigError, DataError

SAMPLE = 5_000
MAX_TEXT_FIELDS = 6


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
    folder: Path, items: Path, events: Path | None, force: bool
) -> dict[str, Guess]:
    """Write ``serendip.toml`` into ``folder`` for these files.

    Args:
        folder: the workspace (created).
        items: CSV, JSONL or Parquet with one item per row.
        events: the same with one event per row; None = no events yet.
        force: overwrite a ``serendip.toml`` that is there.

    Returns:
        the guesses by table.

    Raises:
        ConfigError: ``serendip.toml`` is there already.
        DataError: a file has no column that can be the item id (or the user id).
    """
    target = folder / SETTINGS_FILE
    if target.exists() and not force:
        raise ConfigError(f"{target} exists.", "Edit it, or add --force to overwrite it.")
    guesses = {"items": _guess(folder, items, "items")}
    if events is not None:
        guesses["events"] = _guess(folder, events, "events")
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".toml.part")
    part.write_text(_toml(folder, guesses), encoding="utf-8")
    part.replace(target)
    return guesses


def _guess(folder: Path, path: Path, kind: TableKind) -> Guess:
    columns = open_table(path).columns
    mapping = guess_mapping(columns, kind)
    missing = [name for name in REQUIRED[kind] if name not in mapping]
    if missing:
        raise DataError(
            f"{path}: no column looks like {', '.join(missing)}; it has {', '.join(columns)}.",
            "Rename a column, or write serendip.toml by hand (README, “Your own data”).",
        )
    used = set(mapping.values())
    relative = os.path.relpath(path, folder)
    return Guess(relative, mapping, [name for name in columns if name not in used])


def text_fields(items: Sequence[Item]) -> list[str]:
    """Fields whose words say what an item is: title, description, short or repeated attributes.

    Links, numbers with many values and columns that are mostly empty are left out.
    """
    fields = [name for name in ("title", "description") if any(i.field_text(name) for i in items)]
    names = dict.fromkeys(name for item in items for name in item.attributes)
    for name in names:
        cells = [item.field_text(name) for item in items if name in item.attributes]
        filled = [cell for cell in cells if cell]
        if len(filled) < 0.3 * len(items) or any("://" in cell for cell in filled[:50]):
            continue
        is_number = all(isinstance(i.attributes.get(name, 0.0), float) for i in items)
        if is_number and len(set(filled)) > 0.2 * len(items) + 5:
            continue
        fields.append(name)
    return fields[:MAX_TEXT_FIELDS] or ["title"]


def like_threshold(values: Sequence[float]) -> float | None:
    """80 % of the highest value where values are a scale up to 10; None where they are not."""
    highest = max(values, default=0.0)
    return round(0.8 * highest, 2) if len(set(values)) > 1 and 0 < highest <= 10 else None


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
    ]
    return "\n".join(lines) + "\n"


def _events_lines(folder: Path, events: Guess) -> list[str]:
    config = EventsConfig(path=events.path, columns=dict(events.mapping))
    rows = islice(read_events(config, folder), SAMPLE)
    threshold = like_threshold([event.value for event in rows if event.value is not None])
    rated = "value" in events.mapping and "action" not in events.mapping
    lines = [
        "",
        "[events]",
        f"path = {_quoted(events.path)}",
        f"default_action = {_quoted('rate' if rated else 'click')}"
        "     # the action of rows that name none",
        *_columns("events", events),
    ]
    if threshold is not None:
        lines += ["", "[actions]", f"like_at_least = {threshold}     # from this value on: a like"]
    return lines


def _columns(table: str, guess: Guess) -> list[str]:
    lines = ["", f"[{table}.columns]     # Serendip's word = your column"]
    lines += [f"{name} = {_quoted(column)}" for name, column in guess.mapping.items()]
    if guess.others and table == "items":
        lines.append(f"# kept as attributes: {', '.join(guess.others)}")
    elif guess.others:
        lines.append(f"# not used: {', '.join(guess.others)}")
    return lines


def _quoted(text: str) -> str:
    """A TOML basic string; JSON escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False)
