"""``serendip demo``: a workspace of MovieLens data, from import to the served page."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.cli.terminal import JsonOption, Terminal
from serendip.errors import SerendipError

if TYPE_CHECKING:
    from serendip.jobs.context import JobContext
    from serendip.runtime.versions import Version

NAME = "demo"
HELP = "Build everything from MovieLens: data, checks, models; serve the page; write the report."


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
    """Run the same steps as for a user's own data; steps that are up to date are skipped."""
    from serendip.cli.doctor import show
    from serendip.jobs.demo.demo import build_demo, measure_quality
    from serendip.runtime.timing import StageClock

    terminal = Terminal(json)
    options = terminal.options()
    clock = StageClock(terminal.print_stage, options.progress)
    with options.progress.step("demo"):
        context, generation = build_demo(
            workspace, options, clock, lambda checks: show(checks, terminal), terminal.say
        )
    terminal.print_semantic_ids(generation.manifest["semantic_ids"])
    demo = _Demo(terminal, context, generation)
    if serve:
        demo.serve(port)
    else:
        with options.progress.step("measuring the quality"):
            report = measure_quality(context, terminal.say)
        demo.print_result(report)


class _Demo:
    """A built demo: serves it, and prints its report."""

    def __init__(self, terminal: Terminal, context: JobContext, generation: Version) -> None:
        from serendip.jobs.demo.demo import BackgroundQuality

        self._terminal, self._context, self._generation = terminal, context, generation
        self._quality = BackgroundQuality(context)
        self._thread = threading.Thread(target=self._measure, name="quality")

    def serve(self, port: int) -> None:
        """Serve the page until interrupted; once it is ready, measure the quality beside it."""
        from serendip.cli.serve import serve_workspace

        folder, say = self._context.workspace.folder, self._terminal.say
        try:
            serve_workspace(folder, "127.0.0.1", port, say, on_ready=self._thread.start)
        finally:
            self._quality.stop()
            if self._thread.ident is not None:
                self._thread.join()
        if self._thread.ident is None:  # interrupted before the page was ready
            self.print_result(None)

    def print_result(
        self,
        report: Mapping[str, Any] | None,
        stages: Sequence[Mapping[str, Any]] = (),
        failure: str = "",
    ) -> None:
        """Print the verdict and the result of the command.

        Args:
            report: None = there is none.
            stages: of the evaluation, if another process made it.
            failure: why there is no report; empty = it was not made.
        """
        from serendip.engine.artefacts.quality_report import REPORT_HTML, REPORT_JSON

        reports = self._context.workspace.reports
        if report is not None:
            self._terminal.print_report(report["verdict"], reports / REPORT_HTML)
        self._terminal.result(
            {
                "generation": self._generation.name,
                "report": str(reports / REPORT_JSON) if report else None,
                "verdict": report["verdict"] if report else [],
                "failure": failure,
                "semantic_ids": self._generation.manifest["semantic_ids"],
                "stages": [*self._context.clock.as_dicts(), *stages],
            }
        )

    def _measure(self) -> None:
        """Measure the quality, in a thread of the service; a failure does not end the service."""
        from serendip.jobs.demo.demo import read_report

        report = read_report(self._context)
        if report is not None:
            self.print_result(report)
            return
        try:
            made = self._quality.run()
        except SerendipError as error:
            self._terminal.say(f"WARNING: {error}")
            self.print_result(None, failure=error.message)
        else:
            self.print_result(made, made["stages"] if made else ())
