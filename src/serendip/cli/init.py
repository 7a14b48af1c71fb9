"""``serendip init``: creates a workspace for the user's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "init"
HELP = "Create a workspace for your files: guess columns, write serendip.toml, import, check."


def run(
    items: Annotated[Path, typer.Option(help="One item per row: CSV, JSONL or Parquet.")],
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
    workspace: WorkspaceOption = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite serendip.toml.")] = False,
    json: JsonOption = False,
) -> None:
    """Guess and print the columns, write serendip.toml, import, run the doctor."""
    from serendip.cli.doctor import show
    from serendip.engine.workspace import SETTINGS_FILE, Workspace
    from serendip.jobs.doctor import check_workspace
    from serendip.jobs.import_files import import_files
    from serendip.jobs.init.workspace import start_workspace

    terminal = Terminal(json)
    guesses = start_workspace(workspace, items, events, force, map_options or [], users)
    for table, guess in guesses.items():
        terminal.say(f"{table}: {guess.path}")
        for name, column in guess.mapping.items():
            terminal.say(f"  {name:<14} <- {column}")
        if guess.roles is not None:
            for name, note in guess.roles.notes.items():
                terminal.say(f"  {name:<14}    {note}")
        elif guess.others:
            terminal.say(f"  {'other columns':<14}    {', '.join(guess.others)}")
    opened = Workspace.open(workspace)
    progress = terminal.options().progress
    with progress.step("import"):
        summary = import_files(opened)
    terminal.say(f"{summary['items']:,} items and {summary['events']:,} events imported.")
    if "users" in summary:
        terminal.say(f"{summary['users']:,} users imported.")
    checks = check_workspace(opened, progress)
    show(checks, terminal)
    terminal.say(f"Written: {workspace / SETTINGS_FILE}. Next: serendip train, then serendip serve")
    terminal.result(
        {
            "settings": str(workspace / SETTINGS_FILE),
            "mapping": {table: dict(guess.mapping) for table, guess in guesses.items()},
            "attributes": dict(guesses["items"].roles.notes) if guesses["items"].roles else {},
            **summary,
            "checks": checks,
        }
    )
    if any(check["status"] == "FAIL" for check in checks):
        raise typer.Exit(1)
