"""Serve a workspace; shared by ``serve`` and ``demo``. Opens nothing before the socket listens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serendip.engine.engine import Engine


def serve_workspace(workspace: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Listen, load the published generation in a thread, follow later ones, until interrupted."""
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
