"""``serendip evaluate``: is it better? A report of numbers with intervals."""

from __future__ import annotations

from pathlib import Path

from serendip.cli.terminal import DeviceOption, JsonOption, SeedOption, Terminal, WorkspaceOption

NAME = "evaluate"
HELP = "Train on the past, ask about the future, and write report.json and report.html."


def run(
    workspace: WorkspaceOption = Path(),
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    json: JsonOption = False,
) -> None:
    """Judge the engine and its baselines on temporal cuts and on the last event of each user."""
    from serendip.engine.workspace import Workspace
    from serendip.scale.stages import StageClock
    from serendip.workflow.evaluation import evaluate_workspace

    terminal = Terminal(json)
    clock = StageClock(terminal.stage)
    opened = Workspace.open(workspace)
    report = evaluate_workspace(opened, terminal.options(seed, device), clock)
    terminal.semantic_ids(report["semantic_ids"])
    for sentence in report["verdict"]:
        terminal.say(f"  {sentence}")
    terminal.say(f"Report: {opened.reports / 'report.html'}")
    terminal.result(report)
