"""``serendip embed``: exports vectors of items, users or queries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from serendip.cli.terminal import (
    JsonOption,
    Terminal,
    WorkspaceOption,
)
from serendip.errors import ConfigError


def run(
    kind: Annotated[
        Literal["items", "users", "queries"], typer.Argument(help="What has a vector each.")
    ],
    workspace: WorkspaceOption = Path(),
    file: Annotated[
        Path | None,
        typer.Option(help="Text with one query per line. Default: those of the event log."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Parquet file. Default: embeddings/ of the workspace.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write the vectors of all items, of the users with events, or of queries to a Parquet file."""
    from serendip.jobs.exports.embeddings import embed

    if file is not None and kind != "queries":
        raise ConfigError(f"--file with {kind}.", "Leave it out; it is for queries.")
    terminal = Terminal(json)
    with terminal.job("vectors", workspace, on_engine=True) as context:
        summary = embed(workspace, kind, out, context.options, file)
    terminal.say(
        f"{summary['rows']:,} vectors of {summary['dimensions']} numbers in {summary['out']}"
    )
    parts = ", ".join(f"{width} {part}" for part, width in summary["parts"].items())
    terminal.say(f"  {summary['generation']}, space {summary['space']}: {parts}")
    terminal.result(summary)
