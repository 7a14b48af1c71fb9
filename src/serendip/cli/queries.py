"""``serendip queries``: builds suggested queries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from serendip.cli.terminal import (
    EstimateLlmOption,
    JsonOption,
    LlmBudgetOption,
    Terminal,
    WorkspaceOption,
    require_budget,
)

NAME = "queries"
HELP = "Build suggested queries from item fields, rules, the log and optionally an LLM."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Build suggested queries."""


@app.command("build")
def build(
    workspace: WorkspaceOption = Path(),
    llm: Annotated[bool, typer.Option("--llm", help="Add queries by the LLM of [llm].")] = False,
    budget: LlmBudgetOption = None,
    items: Annotated[int, typer.Option(help="With --llm: largest number of items.", min=1)] = 1_000,
    estimate: EstimateLlmOption = False,
    json: JsonOption = False,
) -> None:
    """Build suggestions anew, as `serendip train --only suggestions`; with --llm write some first.

    Exit 1 = the LLM did not answer all questions.
    """
    from serendip.jobs.llm.job import LlmJob
    from serendip.jobs.suggestions.write_by_llm import write_queries
    from serendip.jobs.train.train import train_workspace

    terminal = Terminal(json)
    spend = require_budget(llm, budget, estimate)
    if spend is None:
        with terminal.job("suggested queries", workspace) as context:
            generation = train_workspace(context, rebuild=False, only="suggestions")
        report = generation.manifest["queries"]
        _print_report(terminal, generation.name, report)
        terminal.result({"generation": generation.name, **report})
        return

    llm_job = LlmJob("queries", spend, estimate, partial(terminal.print_estimate, "items"))
    with terminal.job("suggested queries", workspace) as context:
        written, facts = write_queries(context, llm_job, items)
    if written is None:
        terminal.result(facts)
        return
    _print_report(terminal, "the next training", written.report)
    terminal.result({**written.report, "llm": facts})
    terminal.say(f"{facts['state']}: {facts['written']:,} written, spent {facts['spent']:.4g}")
    if facts["state"] == "partial":
        terminal.print_incomplete(facts["reason"])
        raise typer.Exit(1)


def _print_report(terminal: Terminal, name: str, report: Mapping[str, Any]) -> None:
    """Print the numbers of candidates and queries by source, and of dropped ones by test."""
    terminal.say(f"{name}: {report['queries']:,} queries, and {report['titles']:,} titles")
    for source, count in report["candidates"].items():
        verified = report["by_source"].get(source, 0)
        terminal.say(f"  {source:<16} {count:8,} candidates {verified:8,} verified")
    for test, count in report["dropped"].items():
        terminal.say(f"  {test:<16} {count:8,} dropped")
