"""``serendip init``, ``import``, ``doctor``, ``export``: files of users, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from serendip.jobs.init.columns import GuessedFile


def init(
    items: Annotated[
        Path | None,
        typer.Option(
            help="One item per row: CSV, JSON or Parquet. Without it: those of the events."
        ),
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="One event per row. Can be added later.")
    ] = None,
    users: Annotated[
        Path | None, typer.Option(help="One user per row, with attributes such as a country.")
    ] = None,
    map_options: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="NAME=COLUMN",
            help="Column of a canonical name: events.timestamp=when. Repeatable.",
        ),
    ] = None,
    encoding: Annotated[
        str, typer.Option(help="Of the files, such as cp1252; empty = guessed.")
    ] = "",
    time_format: Annotated[
        str, typer.Option(help="Of times, such as '%d.%m.%Y %H:%M'; empty = guessed.")
    ] = "",
    workspace: WorkspaceOption = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite serendip.toml.")] = False,
    json: JsonOption = False,
) -> None:
    """Create a workspace for your files: guess columns, write serendip.toml, import, check."""
    from serendip.engine.workspace import SETTINGS_FILE
    from serendip.jobs.doctor import check_workspace
    from serendip.jobs.import_files import import_files
    from serendip.jobs.init.columns import FileForm
    from serendip.jobs.init.workspace import start_workspace

    terminal = Terminal(json)
    given = FileForm(encoding, time_format)
    guesses = start_workspace(workspace, items, events, force, map_options or [], users, given)
    for table, guess in guesses.items():
        _show_guess(terminal, table, guess)
    opened = open_workspace(workspace)
    listed, logged = guesses.get("items"), guesses.get("events")
    notes = dict(listed.roles.notes) if listed and listed.roles else {}
    hidden = [name for name in notes if not opened.settings.is_public(name)]
    if hidden:
        terminal.say(
            f"  shoppers do not see {', '.join(hidden)}, by the names: [page] attributes in "
            f"{SETTINGS_FILE} says what they see"
        )
    rules = opened.settings.actions
    if rules.dislike_at_most is not None:
        terminal.say(
            f"  values from {rules.like_at_least:g} on are likes, values up to "
            f"{rules.dislike_at_most:g} negative: [actions] in {SETTINGS_FILE}"
        )
    with terminal.step("import") as progress:
        summary = import_files(opened, allow_loss=force)
    users_told = f" and {summary['users']:,} users" if "users" in summary else ""
    terminal.say(f"{summary['items']:,} items, {summary['events']:,} events{users_told} imported.")
    checks = check_workspace(opened, progress)
    show_checks(checks, terminal)
    terminal.say(f"Written: {workspace / SETTINGS_FILE}. Next: serendip train, then serendip serve")
    terminal.result(
        {
            "settings": str(workspace / SETTINGS_FILE),
            "forms": {table: guess.form.settings() for table, guess in guesses.items()},
            "mapping": {table: guess.mapping for table, guess in guesses.items()},
            "attributes": notes,
            "hidden_attributes": hidden,
            "actions": logged.actions.notes() if logged and logged.actions else {},
            **summary,
            "checks": checks,
        }
    )
    if any(check["status"] == "FAIL" for check in checks):
        raise typer.Exit(1)


def _show_guess(terminal: Terminal, table: str, guess: GuessedFile) -> None:
    terminal.say(f"{table}: {guess.name}")
    for name, text in guess.form.settings().items():
        terminal.say(f"  {name:<14}    {text}")
    for name, column in guess.mapping.items():
        terminal.say(f"  {name:<14} <- {column}")
    if guess.roles is not None:
        for name, note in guess.roles.notes.items():
            terminal.say(f"  {name:<14}    {note}")
    elif guess.others:
        terminal.say(f"  {'other columns':<14}    {', '.join(guess.others)}")
    if guess.actions is not None:
        for name, note in guess.actions.notes().items():
            terminal.say(f"  {f'action {name}':<21} {note}")


def import_files(
    workspace: WorkspaceOption = Path(),
    allow_loss: Annotated[
        bool,
        typer.Option(
            "--allow-loss",
            help="Import files without more than a tenth of the items or events of before.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Import the files of serendip.toml into the database, all or nothing.

    Data posted to the API stay.
    """
    from serendip.engine.artefacts.generations import current_name
    from serendip.jobs.import_files import import_files as import_all

    terminal = Terminal(json)
    opened = open_workspace(workspace)
    with terminal.step("import"):
        summary = import_all(opened, allow_loss)
    terminal.say(
        f"{summary['items']:,} items and {summary['events']:,} events are in the database."
    )
    if "deleted_items" in summary:
        terminal.say(
            f"{summary['deleted_items']:,} items of the import before are not in the files any "
            "more and were deleted."
        )
    if current_name(opened.generations):
        terminal.say(
            "A running service finds them from its next start (kill -HUP) or training on, kinds of "
            "attributes too."
        )
    if "users" in summary:
        terminal.say(f"{summary['users']:,} users of the users file are in it.")
    if "erased_events" in summary:
        terminal.say(f"{summary['erased_events']:,} events of erased users were left out.")
    terminal.result(summary)


def doctor(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Check the data: every named check prints PASS, WARN or FAIL with counts and examples.

    Exit 1 = a check failed.
    """
    from serendip.jobs.doctor import check_workspace

    terminal = Terminal(json)
    results = check_workspace(open_workspace(workspace), terminal.options().progress)
    show_checks(results, terminal)
    terminal.result({"checks": results})
    if any(result["status"] == "FAIL" for result in results):
        raise typer.Exit(1)


def show_checks(results: list[dict[str, object]], terminal: Terminal) -> None:
    """Print one line per check, with examples for those that do not pass."""
    for result in results:
        terminal.say(f"  {result['status']:<4}  {result['name']:<28} {result['message']}")
        examples = result["examples"]
        if result["status"] != "PASS" and isinstance(examples, list) and examples:
            shown = ", ".join(str(example) for example in examples[:5])
            terminal.say(f"        {'':<28} e.g. {shown}")


def export(
    out: Annotated[Path, typer.Argument(help="New folder.")],
    format_name: Annotated[str, typer.Option("--format", help="parquet or jsonl.")] = "parquet",
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Write items, users and events in an open format.

    It is one consistent snapshot of everything; others read and write on.
    """
    from serendip.jobs.exports.export import export as write_export

    terminal = Terminal(json)
    with terminal.step("export") as progress:
        summary = write_export(open_workspace(workspace), out, format_name, progress)
    terminal.say(
        f"{summary['items']:,} items, {summary['users']:,} users with attributes and "
        f"{summary['events']:,} events: {out}"
    )
    terminal.result(summary)
