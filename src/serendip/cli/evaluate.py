"""``serendip evaluate``: a report on the quality of the engine, with confidence intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import (
    DeviceOption,
    JsonOption,
    SeedOption,
    Terminal,
    WorkspaceOption,
)


def run(
    workspace: WorkspaceOption = Path(),
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    full: Annotated[bool, typer.Option("--full", help="All users, instead of a sample.")] = False,
    alignment: Annotated[
        bool,
        typer.Option("--alignment", help="Compare one retriever for all tasks with specialists."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Evaluate every surface on held-out events and write report.json and report.html."""
    from serendip.engine.workspace import REPORT_HTML
    from serendip.jobs.evaluate.evaluate import evaluate_workspace
    from serendip.jobs.evaluate.task_transfer import align_workspace

    terminal = Terminal(json)
    with terminal.job("evaluation", workspace, seed, device, on_engine=True) as context:
        report = align_workspace(context) if alignment else evaluate_workspace(context, full=full)
    if alignment:
        sentences, page = report["recommendation"]["sentences"], "alignment.html"
    else:
        terminal.print_semantic_ids(report["semantic_ids"])
        sentences, page = report["verdict"], REPORT_HTML
    terminal.print_report(sentences, context.workspace.reports / page)
    terminal.result(report)
