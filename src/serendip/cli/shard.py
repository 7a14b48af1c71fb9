"""``serendip shard``: searches one range of the items for services on other machines."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption
from serendip.errors import ConfigError

NAME = "shard"
HELP = "Search one range of the items for services that name it in their settings."

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def run(
    part: Annotated[str, typer.Option(help="Which range, of how many: 2/4.")],
    workspace: WorkspaceOption = Path(),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.")] = 8090,
    json: JsonOption = False,
) -> None:
    """Load a range of the generation in force and answer until interrupted."""
    from serendip.engine.artefacts.shards import read_tls
    from serendip.engine.workspace import Workspace
    from serendip.models.index.remote_shard import TOKEN_VARIABLE
    from serendip.serve.workers.shard_server import ShardServer

    number, parts = _read_part(part)
    token, opened = os.environ.get(TOKEN_VARIABLE, ""), Workspace.open(workspace)
    tls = read_tls(opened)
    if host not in _LOOPBACK and not token and tls is None:
        raise ConfigError(
            f"--host {host} can be reached by others, and {TOKEN_VARIABLE} is not set.",
            "Set it to one long secret for the service and all its shards, or `shard_certificate`, "
            "`shard_key` and `shard_authority` of [serve].",
        )
    terminal, ended = Terminal(json), threading.Event()
    server = ShardServer(opened, number, parts, host, port, token, tls)
    try:
        name = server.load()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        threading.Thread(target=server.follow, args=(ended,), name="shard-follower").start()
        terminal.say(f"part {part} of {name}: {host}:{server.port}   (Ctrl-C stops)")
        terminal.result({"generation": name, "host": host, "port": server.port})
        ended.wait()
    finally:
        ended.set()
        server.close()


def _read_part(text: str) -> tuple[int, int]:
    """Number of a range, from 0, and the number of ranges."""
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts) <= 1_000):
        raise ConfigError(f"--part {text!r} is no part.", "Give its number and how many: 2/4.")
    return int(part) - 1, int(parts)
