"""``serendip config``: shows the settings that count."""

from __future__ import annotations

import json as json_text
import os
from dataclasses import asdict
from pathlib import Path

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption, build_group

app = build_group("config", "Show the settings that count.")


@app.command("show")
def show(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Show every setting with its value and where it comes from; secrets are masked.

    An environment variable such as SERENDIP_TRAIN__BUDGET overrides `budget` of the table `train`
    in serendip.toml.
    """
    from serendip.engine.workspace import read_effective_settings

    terminal = Terminal(json)
    settings = read_effective_settings(workspace, os.environ)
    for one in settings:
        value = json_text.dumps(one.value, ensure_ascii=False)
        terminal.say(f"{one.key} = {value}   ({one.source or one.origin})")
    terminal.result({"settings": [asdict(one) for one in settings]})
