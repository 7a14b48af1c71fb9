"""``serendip init``: writes the ``serendip.toml`` of a new workspace for the user's files.

Columns and settings are guessed from the column names and a sample of rows. The file has comments
and is meant to be read and edited.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from serendip.content.encoders.media_files import resolve_workspace_file
from serendip.data import ActionRules, Item
from serendip.data.text import looks_like_library_style
from serendip.engine.workspace import SETTINGS_FILE
from serendip.errors import ConfigError, DataError
from serendip.files.config import EventsConfig, ItemsConfig, require_columns
from serendip.files.encodings import check_encoding
from serendip.files.events import read_events
from serendip.files.names import TableKind, canonical_columns, fold, names
from serendip.files.times import check_time_format
from serendip.jobs.init.attributes import (
    SAMPLE_ROWS,
    ActionRoles,
    Kind,
    SampleColumn,
    find_quality_columns,
    read_roles,
)
from serendip.jobs.init.columns import (
    FileForm,
    GuessedFile,
    guess_columns,
    guess_encoding,
    guess_form,
)
from serendip.runtime.atomic_files import write_text

_MAX_FILES_CHECKED = 20
_MOST_HOSTS = 5
_MIN_SHARE = 0.9
_MEDIA: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {"image": ("image", "pictures"), "sound": ("audio", "sounds")}
)


def render_settings(
    folder: Path, files: Mapping[TableKind, GuessedFile], sample: Sequence[Item]
) -> str:
    """The text of the file: guessed columns by table, and what the first items say."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # it is no HTML
        loader=PackageLoader("serendip.jobs.init", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # JSON escapes are a subset of TOML's; a comment is one line.
    environment.filters["toml"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["one_line"] = lambda text: " ".join(text.split())
    kinds: tuple[TableKind, ...] = ("items", "events", "users")
    values: dict[str, Any] = {kind: files.get(kind) for kind in kinds}
    if items := files.get("items"):
        values |= _describe_items(folder, items.path, sample)
    if events := files.get("events"):
        values |= _describe_events(folder, events)
    return environment.get_template("serendip.toml.jinja").render(values)


def _describe_items(folder: Path, path: Path, sample: Sequence[Item]) -> dict[str, Any]:
    columns = SampleColumn.list_of(sample)
    numbers = [column for column in columns if column.holds(float)]
    stock = {column.name: ">=1" for column in numbers if column.is_called("stock")}
    countries = {column.name: "=request" for column in columns if column.is_called("country")}
    worth = (column.name for column in numbers if column.is_called("price", "worth"))
    return {
        "is_library": looks_like_library_style([item.title for item in sample]),
        "media": list(_find_media(folder, path, columns)),
        "card_fields": [column.name for column in columns if _is_on_cards(column)],
        "pictures": next(_find_linked_pictures(columns), None),
        "quality": find_quality_columns(columns),
        "filters": stock | countries,  # only the user knows whether they are wanted
        "worth": next(worth, ""),
    }


def _is_on_cards(column: SampleColumn) -> bool:
    is_price = column.holds(float) and column.is_called("price")
    return is_price or column.kind in ("image", "link")


def _find_media(
    folder: Path, path: Path, columns: Sequence[SampleColumn]
) -> Iterator[dict[str, Any]]:
    """Yield the columns with paths of pictures or sounds that are there.

    They are comments in the file because their packages may not be installed and encoding takes
    long.
    """
    for column in columns:
        table, what = _MEDIA.get(column.kind, ("", ""))
        is_inside = _any_file(folder, column.cells)
        if table and (is_inside or _any_file(path.parent, column.cells)):
            yield {"name": column.name, "table": table, "what": what, "is_inside": is_inside}


def _find_linked_pictures(columns: Sequence[SampleColumn]) -> Iterator[dict[str, Any]]:
    pattern = re.compile(
        rf"https://([^/?#]+)/\S+\.(?:{'|'.join(names('endings')['image'])})\b", re.I
    )
    for column in columns:
        found = [match[1] for cell in column.cells if (match := pattern.match(cell))]
        if found and len(found) >= _MIN_SHARE * len(column.cells):
            yield {"name": column.name, "hosts": list(dict.fromkeys(found))[:_MOST_HOSTS]}


def _any_file(folder: Path, cells: Sequence[str]) -> bool:
    for cell in cells[:_MAX_FILES_CHECKED]:
        with suppress(DataError):
            resolve_workspace_file(folder, cell)
            return True
    return False


def _describe_events(folder: Path, events: GuessedFile) -> dict[str, Any]:
    """Likes and negative events, by value and by name; nothing where the defaults say the same.

    A threshold of likes is 80 % of the highest value if the values are ratings on a scale up to 10,
    one of dislikes 40 %, unless a value is 0 or less: it may be the worst rating or mean that there
    is none. A low amount or count, unlike a rating, is no dislike.
    """
    config = EventsConfig.model_validate(events.settings())
    sample = read_events(config, folder).sample(SAMPLE_ROWS)
    values = [event.value for event in sample if event.value is not None]
    highest, has_actions = max(values, default=0.0), "action" in events.mapping
    is_scale = len(set(values)) > 1 and 0 < highest <= 10
    is_named = fold(events.mapping.get("value", "")) in names("values")["rating"]
    rated = {event.action for event in sample if event.value is not None}
    are_ratings = rated <= set(names("actions")["rating"])
    rules = ActionRules()
    roles = events.actions or ActionRoles({}, (), ())
    has_new = any(name not in rules.negative for name in roles.negative)
    return {
        "is_rated": "value" in events.mapping and not has_actions,
        "like": round(0.8 * highest, 2) if is_scale else None,
        "dislike": round(0.4 * highest, 2) if is_scale and min(values) > 0 else None,
        "is_rating": is_named or (has_actions and are_ratings),
        "known_likes": list(rules.always_like),
        "new_likes": [name for name in roles.likes if name not in rules.always_like],
        "negative": {**rules.negative, **roles.negative} if has_new else {},
    }


def start_workspace(
    folder: Path,
    items: Path | None,
    events: Path | None,
    force: bool,
    map_options: Sequence[str] = (),
    users: Path | None = None,
    given: FileForm | None = None,
    now: float | None = None,
) -> dict[TableKind, GuessedFile]:
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

    Raises:
        ConfigError: ``serendip.toml`` exists, there is neither items nor events file, or an option
            of ``map_options`` or ``given`` is invalid.
        DataError: a file is missing, or a required column cannot be determined.
    """
    form = given or FileForm()
    try:
        check_encoding(form.encoding)
        check_time_format(form.time_format)
    except ValueError as error:
        raise ConfigError(f"{error}.", "Correct --encoding or --time-format.") from None
    target = folder / SETTINGS_FILE
    if target.exists() and not force:
        raise ConfigError(f"{target} exists.", "Edit it, or add --force to overwrite it.")
    given_files: dict[TableKind, Path | None] = {"items": items, "events": events, "users": users}
    paths = {kind: path for kind, path in given_files.items() if path is not None}
    if items is None and events is None:
        raise ConfigError("there is no file to read.", "Add --items FILE or --events FILE.")
    files = _open_files(folder, paths, form, map_options)
    guess_columns(files)
    for file in files.values():
        guess_form(file, time.time() if now is None else now)
        if file.kind == "events" and "action" in file.mapping:
            file.actions = ActionRoles.of(file.values(file.mapping["action"]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error}.", "Choose another folder.") from None
    sample: Sequence[Item] = ()
    if listed := files.get("items"):
        config = ItemsConfig.model_validate(listed.settings())
        sample, listed.roles = read_roles(config, folder)
    write_text(target, render_settings(folder, files, sample))
    return files


def _open_files(
    folder: Path, paths: Mapping[TableKind, Path], form: FileForm, map_options: Sequence[str]
) -> dict[TableKind, GuessedFile]:
    files: dict[TableKind, GuessedFile] = {}
    encoding = ""  # of a file before
    for kind, path in paths.items():
        if not path.is_file():
            raise DataError(f"{path} is not a file.", f"Correct the path of --{kind}.")
        own = form.encoding or guess_encoding(path, encoding)
        encoding = encoding or own
        name = os.path.relpath(path, folder)
        files[kind] = GuessedFile(path, name, kind, replace(form, encoding=own))
    given = parse_map_options(map_options, {kind: file.columns for kind, file in files.items()})
    for kind, file in files.items():
        file.given = given[kind]
    return files


def parse_map_options(
    map_options: Sequence[str], columns: Mapping[TableKind, Sequence[str]]
) -> dict[TableKind, dict[str, str]]:
    """Parse the values of ``--map``: table -> canonical name -> file column, for every table.

    A name without a table, ``timestamp=when`` in place of ``events.timestamp=when``, applies to
    every table that has the name and whose file has the column.

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
            present = dict.fromkeys(name for kind in kinds for name in columns[kind])
            require_columns([column], [*present], f"--map {text!r}: the file")
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
