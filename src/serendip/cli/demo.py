"""``serendip demo``: a workspace of MovieLens data, from import to the served page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal

NAME = "demo"
HELP = "Build everything from MovieLens: data, checks, report, models; then serve the page."


def run(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Folder of the workspace.")
    ] = Path("demo"),
    serve: Annotated[bool, typer.Option(help="Serve the page at the end.")] = True,
    port: Annotated[int, typer.Option(help="Port of the page; 0 picks a free one.")] = 8080,
    json: JsonOption = False,
) -> None:
    """Run the same steps as for a user's own data; steps that are up to date are skipped."""
    from serendip.cli.doctor import show
    from serendip.jobs.demo import build_demo
    from serendip.runtime.timing import StageClock

    terminal = Terminal(json)
    clock = StageClock(terminal.print_stage)
    summary = build_demo(
        workspace, terminal.options(), clock, lambda checks: show(checks, terminal), terminal.say
    )
    terminal.print_semantic_ids(summary["semantic_ids"])
    for sentence in summary["verdict"]:
        terminal.say(f"  {sentence}")
    terminal.say(f"Report: {summary['report']} and report.html beside it")
    terminal.result(summary)
    if serve:
        from serendip.cli.serve import serve_workspace

        serve_workspace(workspace, "127.0.0.1", port, terminal.say)
