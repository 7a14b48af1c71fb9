"""``serendip demo``: a workspace of MovieLens data, from import to the served page."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.cli.terminal import JsonOption, Terminal
from serendip.errors import SerendipError

if TYPE_CHECKING:
    from serendip.jobs.context import JobContext
    from serendip.runtime.versions import Version


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
    from serendip.jobs.demo.demo import build_demo, measure_quality, start_beside
    from serendip.runtime.timing import StageClock

    terminal = Terminal(json)
    options = terminal.options()
    clock = StageClock(terminal.print_stage, options.progress)
    with options.progress.step("demo"):
        context, generation = build_demo(
            workspace, options, clock, lambda checks: show_checks(checks, terminal), terminal.say
        )
    terminal.print_semantic_ids(generation.manifest["semantic_ids"])
    show_result = partial(_show_result, terminal, context, generation)
    if not serve:
        show_result(measure_quality(context, terminal.say))
        return
    quality = start_beside(context)

    def measure() -> None:  # in a thread of the service, which a failure does not end
        try:
            report = measure_quality(context, terminal.say, quality)
        except SerendipError as error:
            terminal.say(f"WARNING: {error}")
            show_result(None, failure=error.message)
        else:
            show_result(report, report["stages"] if report else ())

    thread = threading.Thread(target=measure, name="quality")
    try:
        serve_workspace(workspace, "127.0.0.1", port, terminal.say, on_ready=thread.start)
    finally:
        quality.stop()
        if thread.ident is not None:
            thread.join()
    if thread.ident is None:  # interrupted before the page was ready
        show_result(None)


def _show_result(
    terminal: Terminal,
    context: JobContext,
    generation: Version,
    report: Mapping[str, Any] | None,
    stages: Sequence[Mapping[str, Any]] = (),
    failure: str = "",
) -> None:
    """Print the verdict and the result of the command.

    Args:
        terminal: where it is printed.
        context: of the workspace.
        generation: the published one.
        report: None = there is none.
        stages: of the evaluation, if another process made it.
        failure: why there is no report; empty = it was not made.
    """
    from serendip.engine.workspace import REPORT_HTML, REPORT_JSON

    reports = context.workspace.reports
    if report is not None:
        terminal.print_report(report["verdict"], reports / REPORT_HTML)
    terminal.result(
        {
            "generation": generation.name,
            "report": str(reports / REPORT_JSON) if report else None,
            "verdict": report["verdict"] if report else [],
            "failure": failure,
            "semantic_ids": generation.manifest["semantic_ids"],
            "stages": [*context.clock.as_dicts(), *stages],
        }
    )
