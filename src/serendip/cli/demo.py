"""``serendip demo``: a workspace of MovieLens data, from import to the served page."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal
from serendip.errors import SerendipError

if TYPE_CHECKING:
    from serendip.jobs.context import JobContext


def run(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Folder of the workspace.")
    ] = Path("demo"),
    serve: Annotated[
        bool,
        typer.Option(help="Serve the page and measure the quality meanwhile; else measure, stop."),
    ] = True,
    port: Annotated[int, typer.Option(help="Port of the page; 0 picks a free one.")] = 8080,
    json: JsonOption = False,
) -> None:
    """Build everything from MovieLens: data, checks, models; serve the page; write the report.

    The steps are those for a user's own data; what is up to date is skipped.
    """
    from serendip.cli.data import show_checks
    from serendip.cli.serve import serve_workspace
    from serendip.engine.workspace import REPORT_JSON
    from serendip.jobs.demo.demo import build_demo, read_quality
    from serendip.runtime.background import BackgroundProcess
    from serendip.runtime.progress import StageClock

    terminal = Terminal(json)
    options = terminal.options()
    clock = StageClock(terminal.print_stage, options.progress)
    with options.progress.step("demo"):
        context, generation = build_demo(
            workspace, options, clock, lambda checks: show_checks(checks, terminal), terminal.say
        )
    terminal.print_semantic_ids(generation.manifest["semantic_ids"])
    if serve:
        quality = BackgroundProcess(_measure_beside, str(workspace))
        thread = threading.Thread(target=quality.run, name="quality")
        try:
            serve_workspace(workspace, "127.0.0.1", port, terminal.say, on_ready=thread.start)
        finally:
            quality.stop()
            if thread.ident is not None:  # the page was ready
                thread.join()
    else:
        _measure(terminal, context)
    report = read_quality(context)
    terminal.result(
        {
            "generation": generation.name,
            "report": str(context.workspace.reports / REPORT_JSON) if report else None,
            "verdict": report["verdict"] if report else [],
            "semantic_ids": generation.manifest["semantic_ids"],
            "stages": clock.as_dicts(),
        }
    )


def _measure(terminal: Terminal, context: JobContext) -> None:
    from serendip.engine.workspace import REPORT_HTML
    from serendip.jobs.demo.demo import measure_quality

    report = measure_quality(context, terminal.say)
    terminal.print_report(report["verdict"], context.workspace.reports / REPORT_HTML)


def _measure_beside(folder: str) -> None:
    """Body of a process beside the service, which goes on if this fails."""
    from serendip.jobs.context import JobContext

    try:
        _measure(Terminal(as_json=True), JobContext.open(Path(folder)))
    except SerendipError as error:
        sys.exit(f"WARNING: the quality could not be measured: {error}")
