"""``serendip restore``: makes a workspace of a backup, after everything in it was verified."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "restore"
HELP = "Make a workspace of a backup, after everything in it was verified."


def run(
    source: Annotated[str, typer.Argument(help="Folder or URL of the backup.")],
    erasures_of: Annotated[
        str,
        typer.Option(
            help="The workspace that was backed up: erase again who was erased there; or none."
        ),
    ],
    workspace: WorkspaceOption = Path(),
    without_generation: Annotated[
        bool, typer.Option("--without-generation", help="Leave out a generation that is damaged.")
    ] = False,
    revoke_keys: Annotated[
        bool, typer.Option("--revoke-keys", help="Revoke all API keys, and void visitors' cookies.")
    ] = False,
    database: Annotated[
        str,
        typer.Option(
            envvar="SERENDIP_COPY_TO",
            show_envvar=True,
            help="URL of an empty PostgreSQL database for the rows. Default: a file.",
        ),
    ] = "",
    json: JsonOption = False,
) -> None:
    """Restore into a folder that is missing or empty; a workspace is never overwritten."""
    from serendip.jobs.backup.restore import restore

    terminal = Terminal(json)
    known = None if erasures_of == "none" else Path(erasures_of)
    progress = terminal.options().progress
    with progress.step("restore"):
        summary = restore(
            *(source, workspace, progress, known),
            not without_generation,
            revoke_keys,
            database,
        )
    generation = summary.generation or "no generation: run `serendip train`"
    terminal.say(f"{summary.items:,} items, {summary.events:,} events, {generation}.")
    if database:
        terminal.say("Set [store] url, or SERENDIP_STORE__URL, to that database, then open it.")
    if known is None:
        terminal.say("Whoever was erased after the backup is back: erase them again.")
    else:
        terminal.say(
            f"Erased again: {summary.erased_users:,} users, {summary.erased_items:,} items."
        )
    if summary.active_keys:
        terminal.say(f"These API keys are accepted: {', '.join(summary.active_keys)}.")
    terminal.result(asdict(summary))
