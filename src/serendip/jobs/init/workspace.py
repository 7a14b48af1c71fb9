"""``serendip init``: writes the ``serendip.toml`` of a new workspace for the user's files.

Columns and settings are guessed from the column names and a sample of rows. The file has comments
and is meant to be read and edited.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from serendip.content.encoders.media_files import resolve_workspace_file
from serendip.data.event import Event
from serendip.data.files.cells import MEDIA_FOLDER
from serendip.data.files.columns import TableKind, canonical_columns, fold
from serendip.data.files.readers import EventsConfig, ItemsConfig, read_events, read_items
from serendip.data.files.tables import open_table
from serendip.data.item import Item
from serendip.data.text import looks_like_library_style
from serendip.engine.workspace import SETTINGS_FILE
from serendip.errors import ConfigError, DataError
from serendip.jobs.init.action_roles import ActionRoles
from serendip.jobs.init.attribute_roles import (
    COUNTRIES,
    STOCKS,
    VALUES,
    AttributeRoles,
    attribute_cells,
    attribute_names,
    describe_roles,
    find_decimals,
    find_level_separators,
    find_quality_columns,
)
from serendip.jobs.init.cell_kinds import Kind, classify_column
from serendip.jobs.init.file_formats import FileForm, guess_encoding
from serendip.jobs.init.guess_columns import (
    SAMPLE_ROWS,
    SampledFile,
    guess_columns,
    guess_form,
    guess_user_columns,
)
from serendip.runtime.atomic_files import write_text

_MAX_FILES_CHECKED = 20
_MEDIA: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {"image": ("image", "pictures"), "sound": ("audio", "sounds")}
)

_RATING_COLUMNS = frozenset({"rating", "ratings", "score", "stars", "overall"})
_RATING_ACTIONS = frozenset({"rate", "rated", "rating", "review"})


@dataclass(frozen=True, slots=True)
class Guess:
    """Guessed columns of a file.

    Args:
        path: relative to the workspace.
        mapping: canonical name -> file column.
        others: file columns without a canonical name.
        roles: how the other columns of items are read; None = of another file.
        actions: what the actions of events are taken for; None = of another file, or no column.
        form: how the file is written, where that is not the usual way.
    """

    path: str
    mapping: Mapping[str, str]
    others: Sequence[str]
    roles: AttributeRoles | None = None
    actions: ActionRoles | None = None
    form: FileForm = field(default_factory=FileForm)


def start_workspace(
    folder: Path,
    items: Path,
    events: Path | None,
    force: bool,
    map_options: Sequence[str] = (),
    users: Path | None = None,
    given: FileForm | None = None,
) -> dict[str, Guess]:
    """Write ``serendip.toml`` into ``folder`` for these files.

    Args:
        folder: of the workspace; created if missing.
        items: CSV, JSONL or Parquet with one item per row.
        events: the same with one event per row; None = no events yet.
        force: overwrite an existing ``serendip.toml``.
        map_options: ``timestamp=when`` or ``events.timestamp=when``: columns given by the user.
        users: the same with one user per row; None = no users file.
        given: how the files are written, as far as the user says it.

    Returns:
        table -> guessed columns.

    Raises:
        ConfigError: ``serendip.toml`` exists, or an option of ``map_options`` is invalid.
        DataError: a file is missing, or a required column cannot be determined.
    """
    target = folder / SETTINGS_FILE
    if target.exists() and not force:
        raise ConfigError(f"{target} exists.", "Edit it, or add --force to overwrite it.")
    paths: dict[TableKind, Path] = {"items": items}
    if events is not None:
        paths["events"] = events
    if users is not None:
        paths["users"] = users
    guesses = _guess_files(folder, paths, map_options, given or FileForm())
    folder.mkdir(parents=True, exist_ok=True)
    sample, roles = _read_roles(folder, guesses["items"])
    guesses["items"] = replace(guesses["items"], roles=roles)
    write_text(target, _render_settings(folder, guesses, sample))
    return guesses


def _read_roles(folder: Path, guess: Guess) -> tuple[Sequence[Item], AttributeRoles]:
    """The first items, and how their attributes are read."""
    config = ItemsConfig.model_validate(_settings(guess))
    sample = read_items(config, folder).sample(SAMPLE_ROWS)
    levels, decimals = find_level_separators(sample), find_decimals(sample)
    if levels or decimals:
        settings = {"level_separators": levels, "decimals": decimals}
        config = config.model_copy(update=settings)
        sample = read_items(config, folder).sample(SAMPLE_ROWS)
    return sample, describe_roles(sample, levels, decimals)


def _settings(guess: Guess) -> dict[str, object]:
    """Keys of the table of a file, as far as they are guessed."""
    return {"path": guess.path, "columns": dict(guess.mapping), **guess.form.settings()}


def _guess_files(
    folder: Path, paths: Mapping[TableKind, Path], map_options: Sequence[str], given: FileForm
) -> dict[str, Guess]:
    """Table -> guessed columns of its file."""
    for kind, path in paths.items():
        if not path.is_file():
            raise DataError(f"{path} is not a file.", f"Correct the path of --{kind}.")
    encodings = {kind: given.encoding or guess_encoding(path) for kind, path in paths.items()}
    columns = {kind: open_table(path, encodings[kind]).columns for kind, path in paths.items()}
    user_mappings = parse_map_options(map_options, columns)
    files = {
        kind: SampledFile(path, kind, user_mappings[kind], encodings[kind], given.time_format)
        for kind, path in paths.items()
    }
    mappings = dict(
        zip(("items", "events"), guess_columns(files["items"], files.get("events")), strict=True)
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
            form=guess_form(files[kind], mappings[kind]),
        )
    return guesses


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


def render_media(folder: Path, items_path: Path, items: Sequence[Item]) -> list[str]:
    """Commented settings of columns with paths of pictures or sounds.

    They are comments because their packages may not be installed and encoding takes long.
    """
    lines = []
    for name in attribute_names(items):
        cells = attribute_cells(name, items)
        table, what = _MEDIA.get(classify_column(name, cells), ("", ""))
        inside = any(cell.startswith(f"{MEDIA_FOLDER}/") for cell in cells[:1])
        inside = inside or _any_file(folder, cells)
        if not table or not (inside or _any_file(items_path.parent, cells)):
            continue
        lines += ["", f"# The column {_quote(name)} has paths of {what}. To train on them, run"]
        lines.append(f'# `pip install "serendip[{table}]"` and uncomment these lines:')
        if not inside:
            lines.append("# (paths are relative to this folder: move the files into it first)")
        lines += [f"# [content.{table}]", f"# field = {_quote(name)}"]
    return lines


def _any_file(folder: Path, cells: Sequence[str]) -> bool:
    """True if one of the first cells is the path of a file below a folder."""
    for cell in cells[:_MAX_FILES_CHECKED]:
        try:
            resolve_workspace_file(folder, cell)
        except DataError:
            continue
        return True
    return False


def guess_like_threshold(values: Sequence[float]) -> float | None:
    """80 % of the highest value if the values are ratings on a scale up to 10, else None."""
    highest = max(values, default=0.0)
    return round(0.8 * highest, 2) if len(set(values)) > 1 and 0 < highest <= 10 else None


def guess_dislike_threshold(ratings: Sequence[float]) -> float | None:
    """40 % of the highest rating; None if the values are not ratings.

    Also None if a value is 0 or less: it may be the worst rating or mean that there is none.
    """
    if guess_like_threshold(ratings) is None or min(ratings) <= 0:
        return None
    return round(0.4 * max(ratings), 2)


def _render_settings(folder: Path, guesses: Mapping[str, Guess], sample: Sequence[Item]) -> str:
    items, events = guesses["items"], guesses.get("events")
    assert items.roles is not None
    library = looks_like_library_style([item.title for item in sample])
    lines = [
        "# Settings of this workspace. Every key has a default; unknown keys are errors.",
        "",
        "[items]",
        f"path = {_quote(items.path)}",
        *_render_form(items.form),
        f"title_style = {_quote('library' if library else 'plain')}"
        '     # "library": "Matrix, The (1999)" is shown as "The Matrix"',
        'list_separator = "|"      # splits cells such as "Drama|Romance"',
        *_render_columns("items", items),
        *_render_table("level_separators", items.roles.level_separators, "levels of a path"),
        *_render_table("decimals", items.roles.decimals, "numbers, and their decimal sign"),
    ]
    if events is not None:
        lines += _render_events(folder, events)
    if "users" in guesses:
        users = guesses["users"]
        lines += ["", "[users]", f"path = {_quote(users.path)}", *_render_form(users.form)]
        lines += _render_columns("users", users)
    lines += [
        "",
        "[content]",
        "# Text fields of an item that are encoded and searched.",
        f"fields = [{', '.join(map(_quote, items.roles.fields))}]",
        *render_media(folder, folder / items.path, sample),
        *_render_quality(sample),
        *_render_filters(sample),
        *_render_value(sample),
    ]
    return "\n".join(lines) + "\n"


def _render_form(form: FileForm) -> list[str]:
    """How a file is written; the time zone is for the user to say."""
    lines = [f"{key} = {_quote(value)}" for key, value in form.settings().items()]
    if form.time_format:
        lines.append('# time_zone = "Europe/Berlin"     # of these times; without it: UTC')
    return lines


def _render_table(name: str, values: Mapping[str, str], note: str) -> list[str]:
    """A table of ``[items]``; empty without values."""
    if not values:
        return []
    return [
        "",
        f"[items.{name}]     # {note}",
        *(f"{_quote(key)} = {_quote(value)}" for key, value in values.items()),
    ]


def _render_quality(items: Sequence[Item]) -> list[str]:
    """The table of the columns with ratings and numbers of reviews; empty without any."""
    found = find_quality_columns(items)
    if not found:
        return []
    lines = ["", "[quality]     # how good items are, by the catalogue"]
    return lines + [f"{key} = {_quote(name)}" for key, name in found.items()]


def _render_filters(items: Sequence[Item]) -> list[str]:
    """Commented filters by stock and country: only the user knows whether they are wanted."""
    lines = []
    for name in attribute_names(items):
        test = ""
        if fold(name) in STOCKS and any(isinstance(i.attributes.get(name), float) for i in items):
            test = "at_least = 1"
        elif fold(name) in COUNTRIES:
            test = 'equals = "request"'
        if test:
            lines += ["", f"# To show only items by their column {_quote(name)}, uncomment:"]
            lines.append("# [surfaces.home]")
            lines.append(f'# filters = ["seen", {{attribute = {_quote(name)}, {test}}}]')
    return lines


def _render_value(items: Sequence[Item]) -> list[str]:
    """A commented table for the first column that an action may be worth: a price, a margin."""
    for name in attribute_names(items):
        is_number = any(isinstance(item.attributes.get(name), float) for item in items)
        if is_number and fold(name) in VALUES:
            return [
                "",
                f"# To order by expected value, P(action) x the column {_quote(name)}, uncomment:",
                "# [surfaces.home.item_value]",
                f"# attribute = {_quote(name)}",
            ]
    return []


def _render_events(folder: Path, events: Guess) -> list[str]:
    config = EventsConfig.model_validate(_settings(events))
    rows = read_events(config, folder).sample(SAMPLE_ROWS)
    rated = "value" in events.mapping and "action" not in events.mapping
    lines = [
        "",
        "[events]",
        f"path = {_quote(events.path)}",
        *_render_form(events.form),
        f"default_action = {_quote('rate' if rated else 'click')}     # action of rows without one",
        *_render_columns("events", events),
    ]
    return lines + _render_actions(rows, events)


def _render_actions(rows: Sequence[Event], events: Guess) -> list[str]:
    """Likes and negative events, by value and by name; nothing where the defaults say the same."""
    named, negative = [], []
    if events.actions is not None:
        named = events.actions.render_likes()
        negative = [*events.actions.render_negative(), *events.actions.render_strengths()]
    lines = [*_render_thresholds(rows, events), *named]
    return [*(["", "[actions]", *lines] if lines else []), *negative]


def _render_thresholds(rows: Sequence[Event], events: Guess) -> list[str]:
    """Thresholds of likes and dislikes. A low amount or count, unlike a rating, is no dislike."""
    values = [event.value for event in rows if event.value is not None]
    like = guess_like_threshold(values)
    if like is None:
        return []
    lines = [f"like_at_least = {like}     # from this value on: a like"]
    is_named = fold(events.mapping.get("value", "")) in _RATING_COLUMNS
    actions = {event.action for event in rows if event.value is not None}
    is_rating = is_named or ("action" in events.mapping and actions <= _RATING_ACTIONS)
    dislike = guess_dislike_threshold(values)
    if dislike is not None:
        note = "up to this value: a dislike, a negative event"
        line = f"dislike_at_most = {dislike}     # "
        lines.append(f"{line}{note}" if is_rating else f"# {line}if values are ratings: {note}")
    return lines


def _render_columns(table: str, guess: Guess) -> list[str]:
    lines = ["", f"[{table}.columns]     # Serendip's name = your column"]
    lines += [f"{name} = {_quote(column)}" for name, column in guess.mapping.items()]
    others = [" ".join(name.split()) for name in guess.others]  # a comment is one line
    if others and table in ("items", "users"):
        lines.append(f"# kept as attributes: {', '.join(others)}")
    elif others:
        lines.append(f"# not used: {', '.join(others)}")
    return lines


def _quote(text: str) -> str:
    """A TOML basic string; JSON escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False)
