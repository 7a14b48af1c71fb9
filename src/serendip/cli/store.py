"""``serendip store``: copies the database of a workspace to PostgreSQL, or back to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "store"
HELP = "Copy the database of a workspace to PostgreSQL, or back to a file."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Copy the database of a workspace to PostgreSQL, or back to a file."""


@app.command("copy")
def copy(
    to: Annotated[
        str,
        typer.Option(
            envvar="SERENDIP_COPY_TO",
            show_envvar=True,
            help="URL of an empty PostgreSQL database; or `file`, for serendip.db.",
        ),
    ],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Copy all rows, all or nothing, and compare them; the old database then refuses writes.

    Stop the service first: until it is started with the new database it refuses events.
    """
    from serendip.engine.workspace import Workspace
    from serendip.jobs.copy_store import FILE, copy_store

    terminal = Terminal(json)
    with terminal.options().progress.step("copy"):
        copied = copy_store(Workspace.open(workspace), to)
    for table in copied.tables:
        terminal.say(f"  {table.name:<16} {table.rows:>12,} rows   {table.checksum[:16]}")
    terminal.say(f"Copied to {copied.target}, and compared.")
    if to == FILE:
        terminal.say("Next: remove [store] url from serendip.toml, and start the service.")
    else:
        terminal.say(
            "Next: set [store] url, or SERENDIP_STORE__URL, start the service, and move "
            "serendip.db away."
        )
    terminal.result(copied.as_dict())
