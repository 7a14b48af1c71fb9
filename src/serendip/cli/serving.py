"""Serve a workspace; shared by ``serve`` and ``demo``. Opens nothing before the socket listens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip.engine.engine import Engine

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
    from serendip.serve.server import run

    def open_engine() -> Engine:
        from serendip.engine.engine import Engine

        return Engine.open(workspace)

    def current_generation() -> str:
        from serendip.engine.generation import current_name

        return current_name(workspace / "generations")

    run(
        open_engine,
        host,
        port,
        on_ready=lambda address: say(f"Ready: {address}   (Ctrl-C stops)"),
        current_generation=current_generation,
        on_listening=lambda address: say(f"Listening on {address}, loading ..."),
    )
