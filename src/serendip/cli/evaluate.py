"""``serendip evaluate``: a report on the quality of the engine, with confidence intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import DeviceOption, JsonOption, SeedOption, Terminal, WorkspaceOption

if TYPE_CHECKING:
    from serendip.jobs.context import JobContext

NAME = "evaluate"
HELP = "Evaluate the engine on held-out events and write report.json and report.html."


def run(
    workspace: WorkspaceOption = Path(),
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    alignment: Annotated[
        bool,
        typer.Option("--alignment", help="Compare one retriever for all tasks with specialists."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Evaluate the engine and its baselines on temporal splits and on each user's last event."""
    from serendip.jobs.context import JobContext
    from serendip.runtime.timing import StageClock

    terminal = Terminal(json)
    options, clock = terminal.options(seed, device), StageClock(terminal.print_stage)
    context = JobContext.open(workspace, options, clock)
    if alignment:
        _align(context, terminal)
        return
    from serendip.jobs.evaluate.evaluate import evaluate_workspace

    report = evaluate_workspace(context)
    terminal.print_semantic_ids(report["semantic_ids"])
    for sentence in report["verdict"]:
        terminal.say(f"  {sentence}")
    terminal.say(f"Report: {context.workspace.reports / 'report.html'}")
    terminal.result(report)


def _align(context: JobContext, terminal: Terminal) -> None:
    """Compare retrievers of all sets of tasks and print the recommendation."""
    from serendip.jobs.evaluate.task_transfer import align_workspace

    report = align_workspace(context)
    for sentence in report["recommendation"]["sentences"]:
        terminal.say(f"  {sentence}")
    terminal.say(f"Report: {context.workspace.reports / 'alignment.html'}")
    terminal.result(report)
