"""``serendip demo``: real data -> checks -> report -> a published generation -> a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal

NAME = "demo"
HELP = "Build everything from MovieLens: data, checks, report, models; then serve the page."


def run(
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Where.")] = Path("demo"),
    serve: Annotated[bool, typer.Option(help="Serve the page at the end.")] = True,
    port: Annotated[int, typer.Option(help="Port of the page; 0 picks a free one.")] = 8080,
    json: JsonOption = False,
) -> None:
    """Every step is the one that a user's own data goes through; a second run finds all done."""
    from serendip.cli.doctor import show
    from serendip.jobs.demo import build_demo
    from serendip.runtime.timing import StageClock

    terminal = Terminal(json)
    clock = StageClock(terminal.stage)
    summary = build_demo(
        workspace, terminal.options(), clock, lambda checks: show(checks, terminal), terminal.say
    )
    terminal.semantic_ids(summary["semantic_ids"])
    for sentence in summary["verdict"]:
        terminal.say(f"  {sentence}")
    terminal.say(f"Report: {summary['report']} and report.html beside it")
    terminal.result(summary)
    if serve:
        from serendip.cli.serve import serve_workspace

        serve_workspace(workspace, "127.0.0.1", port, terminal.say)
