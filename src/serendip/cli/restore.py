"""``serendip restore``: makes a workspace of a backup, after everything in it was verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "restore"
HELP = "Make a workspace of a backup, after everything in it was verified."


def run(
    source: Annotated[str, typer.Argument(help="Folder or URI of the backup.")],
    workspace: WorkspaceOption = Path(),
    erasures_of: Annotated[
        Path | None,
        typer.Option(help="The workspace that was backed up: erase again who was erased there."),
    ] = None,
    without_generation: Annotated[
        bool, typer.Option("--without-generation", help="Leave out a generation that is damaged.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Restore into a folder that is missing or empty; a workspace is never overwritten."""
    from serendip.jobs.backup.restore import restore

    terminal = Terminal(json)
    progress = terminal.options().progress
    with progress.step("restore"):
        summary = restore(source, workspace, progress, erasures_of, not without_generation)
    generation = summary.generation or "no generation: run `serendip train`"
    terminal.say(f"{summary.items:,} items, {summary.events:,} events, {generation}.")
    if erasures_of is None:
        terminal.say("Whoever was erased after the backup is back: see --erasures-of.")
    else:
        terminal.say(
            f"Erased again: {summary.erased_users:,} users, {summary.erased_items:,} items."
        )
    terminal.result(summary.as_dict())
