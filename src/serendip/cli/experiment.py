"""``serendip experiment``: starts, reads and stops experiments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption, build_group, open_workspace

if TYPE_CHECKING:
    from serendip.engine.experiments import ExperimentRun
    from serendip.evaluate.intervals import Estimate
    from serendip.jobs.experiments import ExperimentResult

app = build_group("experiment", "Compare settings of a surface on shares of the users.")

NameArgument = Annotated[str, typer.Argument(help="Name of a table [experiments.NAME].")]


@app.command("start")
def start(
    name: NameArgument, workspace: WorkspaceOption = Path(), json: JsonOption = False
) -> None:
    """Start an experiment, or let in as many users as its ramp says now.

    Services obey within a second.
    """
    from serendip.jobs.experiments import start

    _show(start(open_workspace(workspace), name), json)


@app.command("stop")
def stop(name: NameArgument, workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Stop an experiment for good: everybody is answered as requested."""
    from serendip.jobs.experiments import stop

    _show(stop(open_workspace(workspace), name), json)


def _show(run: ExperimentRun, json: bool) -> None:
    terminal = Terminal(json)
    terminal.say(_describe_run(run))
    terminal.result(run.model_dump(mode="json"))


@app.command("status")
def show_status(
    name: Annotated[str, typer.Argument(help="Its name; without one all are listed.")] = "",
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Compare the arms of an experiment, as often as you like, or list all."""
    from serendip.jobs.experiments import read_result, read_runs

    terminal, opened = Terminal(json), open_workspace(workspace)
    if name:
        result = read_result(opened, name)
        terminal.say(*describe(result))
        terminal.result({**asdict(result), "run": result.run.model_dump(mode="json")})
        return
    runs = read_runs(opened)
    terminal.say(*map(_describe_run, runs))
    terminal.result({"experiments": [run.model_dump(mode="json") for run in runs]})


def _describe_run(run: ExperimentRun) -> str:
    end = f"stopped {_moment(run.stopped)}" if run.stopped else "runs"
    config, kind = run.config, "interleaved: " if run.config.interleave else ""
    arms, share = ", ".join(config.arms), f"{100 * config.ramp:g} % of the users"
    return f"{run.name}: {end}, since {_moment(run.started)}, {kind}{arms}, {share}"


def describe(result: ExperimentResult) -> Iterator[str]:
    """Yield lines for people."""
    config = result.run.config
    yield _describe_run(result.run)
    what = "prefer its list" if config.interleave else f"{config.metric} per {config.per}"
    for arm in result.arms:
        mean = "" if arm.mean is None else f"   {arm.mean:.4f}"
        yield f"  {arm.name:<16} {arm.users:>9,} users{mean}   {what}{_write(arm.difference)}"
        if arm.rejections is not None:
            yield f"    hides and other rejections per user{_write(arm.rejections)}"
    if result.ratio_p is not None:
        yield f"  sample ratio: p = {result.ratio_p:.3f}"
    yield f"  users seen by {result.seen_by}; latency and empty answers of arms: /metrics"
    if result.is_changed:
        yield "  WARNING: its settings have changed: stop it, and start it under another name"
    for arm in result.arms[1:]:
        rejections = arm.rejections.low if arm.rejections else None
        but = ", but its users reject more" if rejections and rejections > 0 else ""
        yield f"verdict: {arm.name}: {arm.verdict}{but}"


def _write(found: Estimate | None) -> str:
    if found is None:
        return ""
    if found.value is None or found.low is None or found.high is None:
        return ": too few users"
    return f": {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
