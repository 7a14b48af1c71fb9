"""``serendip rollback``: return to the generation before."""

from __future__ import annotations

from pathlib import Path

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

NAME = "rollback"
HELP = "Make the generation before the current one current again."


def run(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Switch back in one atomic step; a running service follows within seconds."""
    from serendip.engine.generations import rollback
    from serendip.engine.workspace import Workspace

    terminal = Terminal(json)
    generation = rollback(Workspace.open(workspace).generations)
    terminal.say(f"{generation.name} is current.")
    terminal.result({"generation": generation.name})
