"""``serendip evaluate``: is it better? A report of numbers with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import DeviceOption, JsonOption, SeedOption, Terminal, WorkspaceOption

if TYPE_CHECKING:
    from serendip.engine.workspace import Workspace
    from serendip.runtime.timing import StageClock

NAME = "evaluate"
HELP = "Train on the past, ask about the future, and write report.json and report.html."


def run(
    workspace: WorkspaceOption = Path(),
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    alignment: Annotated[
        bool,
        typer.Option(
            "--alignment", help="Should one model serve all tasks? Trains specialists as well."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Judge the engine and its baselines on temporal cuts and on the last event of each user."""
    from serendip.engine.workspace import Workspace
    from serendip.runtime.timing import StageClock

    terminal = Terminal(json)
    clock = StageClock(terminal.stage)
    opened = Workspace.open(workspace)
    if alignment:
        _align(opened, terminal, clock, seed, device)
        return
    from serendip.jobs.evaluate.evaluate import evaluate_workspace

    report = evaluate_workspace(opened, terminal.options(seed, device), clock)
    terminal.semantic_ids(report["semantic_ids"])
    for sentence in report["verdict"]:
        terminal.say(f"  {sentence}")
    terminal.say(f"Report: {opened.reports / 'report.html'}")
    terminal.result(report)


def _align(
    workspace: Workspace, terminal: Terminal, clock: StageClock, seed: int, device: str
) -> None:
    from serendip.jobs.evaluate.task_transfer import align_workspace

    report = align_workspace(workspace, terminal.options(seed, device), clock)
    for sentence in report["recommendation"]["sentences"]:
        terminal.say(f"  {sentence}")
    terminal.say(f"Report: {workspace.reports / 'alignment.html'}")
    terminal.result(report)
