"""``serendip storage``: removes from the storage what no database owns any more."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "storage"
HELP = "Remove event logs from the storage that no database owns any more."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Remove event logs from the storage that no database owns any more."""


@app.command("forget")
def forget(
    log: Annotated[str, typer.Argument(help="Name of the log, as `serendip status` lists it.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Remove an event log that a restore replaced: its segments there, and their copies here.

    Only once no machine uses a database with that log: its events are gone for good.
    """
    from serendip.engine.workspace import Workspace

    terminal = Terminal(json)
    with closing(Workspace.open(workspace).open_store()) as store:
        removed = store.forget_log(log)
    terminal.say(f"Removed log {log}: {removed} segments.")
    terminal.result({"log": log, "segments": removed})
