"""``serendip init``: creates a workspace for the user's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

if TYPE_CHECKING:
    from serendip.jobs.init.workspace import Guess

NAME = "init"
HELP = "Create a workspace for your files: guess columns, write serendip.toml, import, check."


def run(
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
    """Guess and print the columns, write serendip.toml, import, run the doctor."""
    from serendip.cli.doctor import show
    from serendip.engine.workspace import SETTINGS_FILE, Workspace
    from serendip.jobs.doctor import check_workspace
    from serendip.jobs.import_files import import_files
    from serendip.jobs.init.columns import FileForm
    from serendip.jobs.init.workspace import start_workspace

    terminal = Terminal(json)
    given = FileForm(encoding, time_format)
    guesses = start_workspace(workspace, items, events, force, map_options or [], users, given)
    for table, guess in guesses.items():
        _show_guess(terminal, table, guess)
    opened = Workspace.open(workspace)
    rules = opened.settings.actions
    if rules.dislike_at_most is not None:
        terminal.say(
            f"  values from {rules.like_at_least:g} on are likes, values up to "
            f"{rules.dislike_at_most:g} negative: [actions] in {SETTINGS_FILE}"
        )
    progress = terminal.options().progress
    with progress.step("import"):
        summary = import_files(opened, allow_loss=force)
    users_told = f" and {summary['users']:,} users" if "users" in summary else ""
    terminal.say(f"{summary['items']:,} items, {summary['events']:,} events{users_told} imported.")
    checks = check_workspace(opened, progress)
    show(checks, terminal)
    terminal.say(f"Written: {workspace / SETTINGS_FILE}. Next: serendip train, then serendip serve")
    listed, logged = guesses.get("items"), guesses.get("events")
    terminal.result(
        {
            "settings": str(workspace / SETTINGS_FILE),
            "forms": {table: guess.form.settings() for table, guess in guesses.items()},
            "mapping": {table: dict(guess.mapping) for table, guess in guesses.items()},
            "attributes": dict(listed.roles.notes) if listed and listed.roles else {},
            "actions": logged.actions.notes() if logged and logged.actions else {},
            **summary,
            "checks": checks,
        }
    )
    if any(check["status"] == "FAIL" for check in checks):
        raise typer.Exit(1)


def _show_guess(terminal: Terminal, table: str, guess: Guess) -> None:
    terminal.say(f"{table}: {guess.path}")
    for name, text in guess.form.settings().items():
        doubt = f" (a guess: {guess.example})" if name == "encoding" and guess.example else ""
        terminal.say(f"  {name:<14}    {text}{doubt}")
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
