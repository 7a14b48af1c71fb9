"""``serendip serve``: the HTTP API and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import Terminal, WorkspaceOption

NAME = "serve"
HELP = "Serve the API and the page on 127.0.0.1."


def run(
    workspace: WorkspaceOption = Path(),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.")] = 8080,
) -> None:
    """Listen at once, load the published generation, answer until interrupted."""
    from serendip.cli.serving import serve_workspace

    serve_workspace(workspace, host, port, Terminal().say)
