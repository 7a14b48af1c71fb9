"""``serendip storage``: the storage of generations that several machines share."""

from __future__ import annotations

from pathlib import Path

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "storage"
HELP = "Share generations with other machines."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Share generations with other machines; `serendip train` does so by itself."""


@app.command("push")
def push(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Put the generation of this machine into the storage of `[storage] url`, which has none."""
    from serendip.engine.artefacts.generations import share
    from serendip.engine.workspace import Workspace
    from serendip.errors import ConfigError
    from serendip.runtime.sync import SharedFolder

    terminal = Terminal(json)
    opened = Workspace.open(workspace)
    place = opened.generations
    if not isinstance(place, SharedFolder):
        raise ConfigError("[storage] url is not set.", "Set it to a bucket or a mounted folder.")
    with opened.exclusive("generations") as require_held:
        version = share(place, require_held)
    terminal.say(f"{version.name} is in force in {place.storage.url}.")
    terminal.result({"generation": version.name, "url": place.storage.url})
