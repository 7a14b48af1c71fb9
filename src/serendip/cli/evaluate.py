"""``serendip evaluate``: is it better? A report of numbers with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import DeviceOption, JsonOption, SeedOption, Terminal, WorkspaceOption

if TYPE_CHECKING:
    from serendip.jobs.context import JobContext

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
    from serendip.jobs.context import JobContext
    from serendip.runtime.timing import StageClock

    terminal = Terminal(json)
    options, clock = terminal.options(seed, device), StageClock(terminal.stage)
    context = JobContext.open(workspace, options, clock)
    if alignment:
        _align(context, terminal)
        return
    from serendip.jobs.evaluate.evaluate import evaluate_workspace

    report = evaluate_workspace(context)
    terminal.semantic_ids(report["semantic_ids"])
    for sentence in report["verdict"]:
        terminal.say(f"  {sentence}")
    terminal.say(f"Report: {context.workspace.reports / 'report.html'}")
    terminal.result(report)


def _align(context: JobContext, terminal: Terminal) -> None:
    from serendip.jobs.evaluate.task_transfer import align_workspace

    report = align_workspace(context)
    for sentence in report["recommendation"]["sentences"]:
        terminal.say(f"  {sentence}")
    terminal.say(f"Report: {context.workspace.reports / 'alignment.html'}")
    terminal.result(report)
