"""``serendip serve``: serves the HTTP API and the page of a workspace.

The engine is imported and opened after the socket listens.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import Terminal, WorkspaceOption
from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip.engine.engine import Engine
    from serendip.serve.generation_watch import PublishedGenerations
    from serendip.serve.server import Helper
    from serendip.serve.worker_seat import WorkerSeat

NAME = "serve"
HELP = "Serve the API and the page on 127.0.0.1."


def run(
    workspace: WorkspaceOption = Path(),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.")] = 8080,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that answer, one per core at most.")
    ] = 1,
) -> None:
    """Listen, load the published generation and serve until interrupted."""
    serve_workspace(workspace, host, port, Terminal().say, workers)


# As in ``engine.workspace``, which would take too long to import before the socket listens.
_SETTINGS_FILE = "serendip.toml"


def serve_workspace(
    workspace: Path,
    host: str,
    port: int,
    say: Callable[[str], None],
    workers: int = 1,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve the published generation, and later ones once they are published, until interrupted.

    Args:
        workspace: folder of the workspace.
        host: address to listen on.
        port: 0 = a free one.
        say: called with lines for people.
        workers: number of processes that answer.
        on_ready: called once the engine answers, in another thread.

    Raises:
        ConfigError: the folder is not a workspace.
    """
    settings = workspace / _SETTINGS_FILE
    if not settings.is_file():
        raise ConfigError(
            f"{settings} does not exist.",
            "Give the workspace with -w FOLDER, or create one with `serendip init`.",
        )

    def say_ready(address: str) -> None:
        say(f"Ready: {address}   (Ctrl-C stops)")
        on_ready()

    def say_listening(address: str) -> None:
        say(f"Listening on {address}, loading ...")

    if workers == 1:
        from serendip.serve.server import run

        published = _published_in(workspace)
        run(published, host, port, say_ready, say_listening, partial(_open_helper, workspace))
    else:
        from serendip.serve.supervisor import supervise

        def load() -> None:
            from serendip.engine.engine import load_shared
            from serendip.serve import app  # noqa: F401 - what it imports is shared, too

            load_shared(workspace)

        def work(seat: WorkerSeat) -> None:
            from serendip.serve.server import run_worker

            run_worker(_published_in(workspace), seat, partial(_open_helper, workspace))

        supervise(work, workers, host, port, load, say_ready, say_listening)


def _open_helper(workspace: Path) -> Helper:
    """What works beside the service; the engine is imported by then."""
    from serendip.engine.media_encoding import MediaProcess

    return MediaProcess(workspace)


def _published_in(workspace: Path) -> PublishedGenerations:
    """The generations of a workspace; the engine is imported once one is opened."""
    from serendip.serve.generation_watch import PublishedGenerations

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

    return PublishedGenerations(open_engine, current, open_earlier, files_state)
