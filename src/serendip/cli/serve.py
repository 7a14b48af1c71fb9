"""``serendip serve``: the HTTP API and the page.

Serve a workspace; shared by ``serve`` and ``demo``. Opens nothing before the socket listens.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import Terminal, WorkspaceOption
from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip.engine.engine import Engine

NAME = "serve"
HELP = "Serve the API and the page on 127.0.0.1."


def run(
    workspace: WorkspaceOption = Path(),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.")] = 8080,
) -> None:
    """Listen at once, load the published generation, answer until interrupted."""
    serve_workspace(workspace, host, port, Terminal().say)


# The engine has this name, too, but importing it takes longer than the socket may.
_SETTINGS_FILE = "serendip.toml"


def serve_workspace(workspace: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Listen, load the published generation in a thread, follow later ones, until interrupted.

    Raises:
        ConfigError: the folder is no workspace; nothing listens then.
    """
    settings = workspace / _SETTINGS_FILE
    if not settings.is_file():
        raise ConfigError(
            f"{settings} does not exist.",
            "Name the workspace with -w FOLDER, or run `serendip init` to make one.",
        )
    from serendip.serve.generation_watch import Published
    from serendip.serve.server import run

    generations = workspace / "generations"

    def open_engine() -> Engine:
        from serendip.engine.engine import Engine

        return Engine.open(workspace)

    def open_earlier() -> Engine:
        from serendip.engine.engine import Engine

        return Engine.open_earlier(workspace)

    def current() -> str:
        from serendip.engine.generations import current_name

        return current_name(generations)

    def files_state(name: str) -> Hashable:
        from serendip.engine.generations import files_state

        return files_state(generations, name)

    run(
        Published(open_engine, current, open_earlier, files_state),
        host,
        port,
        on_ready=lambda address: say(f"Ready: {address}   (Ctrl-C stops)"),
        on_listening=lambda address: say(f"Listening on {address}, loading ..."),
    )
