"""``serendip rollback``: returns to the previous generation."""

from __future__ import annotations

from pathlib import Path

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "rollback"
HELP = "Make the previous generation current again."


def run(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Switch to the previous generation atomically; a running service follows in seconds."""
    from serendip.engine.artefacts.generations import rollback
    from serendip.engine.workspace import Workspace

    terminal = Terminal(json)
    opened = Workspace.open(workspace)
    with opened.exclusive("generations") as require_held:
        generation = rollback(opened.generations, require_held)
    terminal.say(f"{generation.name} is current.")
    terminal.result({"generation": generation.name})
