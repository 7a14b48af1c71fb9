"""``serendip export``: items, users and events in open formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "export"
HELP = "Write items, users and events in an open format."


def run(
    out: Annotated[Path, typer.Argument(help="New folder.")],
    format_name: Annotated[str, typer.Option("--format", help="parquet or jsonl.")] = "parquet",
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Write one consistent snapshot of everything; others read and write on."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.exports.export import export

    terminal = Terminal(json)
    progress = terminal.options().progress
    with progress.step("export"):
        summary = export(Workspace.open(workspace), out, format_name, progress)
    terminal.say(
        f"{summary['items']:,} items, {summary['users']:,} users with attributes and "
        f"{summary['events']:,} events: {out}"
    )
    terminal.result(summary)
