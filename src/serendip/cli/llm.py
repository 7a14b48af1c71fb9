"""``serendip llm``: requests to LLMs, their cost, and the whole chain of what they improve."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import (
    EstimateOption,
    JsonOption,
    SeedOption,
    Terminal,
    WorkspaceOption,
)
from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip.jobs.llm.improve import StepPlan, StepResult

NAME = "llm"
HELP = "Let an LLM improve search, and show the requests to LLMs and their cost."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Let an LLM improve search, and show the requests to LLMs and their cost."""


@app.command("improve")
def improve(
    budget: Annotated[float, typer.Option(help="Most that this run may cost.")],
    workspace: WorkspaceOption = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before anything is sent.")] = False,
    estimate: EstimateOption = False,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train what passed its gate, in the end.")
    ] = True,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Ask for labels, queries, attributes and texts; use what passes its gate. Exit 1 = nothing."""
    from serendip.jobs.llm.improve import Improvement
    from serendip.jobs.llm.improve import improve as improve_workspace
    from serendip.runtime.executor_config import EngineChoice

    terminal = Terminal(json)
    if json and not (yes or estimate):
        raise ConfigError("--json cannot ask.", "Add --yes, or --estimate.")

    def agree(plan: Sequence[StepPlan]) -> bool:
        for step in plan:
            terminal.say(
                f"  {step.name:<24} {step.questions:8,} questions   about {step.price:.4g}"
            )
        total = sum(step.price for step in plan)
        terminal.say(f"  about {total:.4g} in all, at most {budget:.4g}")
        return not estimate and (yes or typer.confirm("Go on?", err=True))

    def show(step: StepResult) -> None:
        terminal.say(f"{step.name}: {step.wrote or 'nothing written'}, cost {step.cost:.4g}")
        terminal.say(f"  {step.gate.describe()}")
        for line in step.changes:
            terminal.say(f"    {line}")

    improvement = Improvement(budget, agree, train, show)
    with terminal.job("improvement by an LLM", workspace, seed, engine=EngineChoice()) as context:
        report = improve_workspace(context, improvement)
    terminal.result(asdict(report))
    if not report.steps:
        return
    if report.generation:
        terminal.say(f"spent {report.spent:.4g}; {report.generation} is published")
        return
    terminal.say(f"spent {report.spent:.4g}; what is served is as it was")
    if not any(step.gate.on for step in report.steps[1:]):
        raise typer.Exit(1)


@app.command("ledger")
def ledger(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Show requests, outcomes, tokens and price per job and model."""
    from serendip.engine.workspace import Workspace
    from serendip.llm.ledger import Ledger

    terminal = Terminal(json)
    with closing(Ledger.open(Workspace.open(workspace).database)) as database:
        jobs, failures = database.summary(), database.failures()
    terminal.result({"jobs": jobs, "failures": failures})
    if not jobs:
        terminal.say("No requests yet.")
    for row in jobs:
        terminal.say(
            f"{row['job']}: {row['calls']:,} calls of {row['prompt']} to {row['model']}, "
            f"{row['ok']:,} answered, {row['failed']:,} failed, {row['unfinished']:,} unfinished"
        )
        terminal.say(
            f"  {row['tokens_sent']:,} + {row['tokens_answered']:,} tokens, "
            f"{row['seconds']:.1f} s, price {row['price']:.4g}"
        )
    for row in failures:
        terminal.say(f"  {row['job']}: {row['calls']:,} x {row['failure']}")
