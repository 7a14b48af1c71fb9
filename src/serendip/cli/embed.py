"""``serendip embed``: exports vectors of items, users or queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import (
    AddressOption,
    EngineOption,
    JsonOption,
    Terminal,
    WorkspaceOption,
    build_group,
)

if TYPE_CHECKING:
    from serendip.jobs.exports.embeddings import Kind

app = build_group("embed", "Write the vectors of items, users or queries to a Parquet file.")

OutOption = Annotated[
    Path | None, typer.Option(help="Parquet file. Default: embeddings/ of the workspace.")
]


@app.command("items")
def items(
    workspace: WorkspaceOption = Path(), out: OutOption = None, json: JsonOption = False
) -> None:
    """Export one vector per item of the catalogue."""
    _embed(workspace, "items", out, Terminal(json))


@app.command("users")
def users(
    workspace: WorkspaceOption = Path(),
    out: OutOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Export one vector per user with events."""
    _embed(workspace, "users", out, Terminal(json), engine=engine, address=address)


@app.command("queries")
def queries(
    workspace: WorkspaceOption = Path(),
    file: Annotated[
        Path | None,
        typer.Option(
            help=".txt with one query per line, or a table with `query`. Default: the event log."
        ),
    ] = None,
    out: OutOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Export one vector per query."""
    _embed(workspace, "queries", out, Terminal(json), file, engine, address)


def _embed(
    workspace: Path,
    kind: Kind,
    out: Path | None,
    terminal: Terminal,
    file: Path | None = None,
    engine: str | None = None,
    address: str | None = None,
) -> None:
    """Export the vectors of a kind and print a summary."""
    from serendip.jobs.exports.embeddings import embed

    with terminal.job("vectors", workspace, engine=(engine, address)) as context:
        summary = embed(workspace, kind, out, context.options, file)
    terminal.say(
        f"{summary['rows']:,} vectors of {summary['dimensions']} numbers in {summary['out']}"
    )
    parts = ", ".join(f"{width} {part}" for part, width in summary["parts"].items())
    terminal.say(f"  {summary['generation']}, space {summary['space']}: {parts}")
    terminal.result(summary)
