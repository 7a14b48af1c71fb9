"""``serendip queries``: which queries are worth suggesting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption, asked_budget

if TYPE_CHECKING:
    from serendip.llm.runner import CostEstimate

NAME = "queries"
HELP = "Build suggested queries from fields, rules, the log and, where asked for, an LLM."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Suggested queries."""


@app.command("build")
def build(
    workspace: WorkspaceOption = Path(),
    llm: Annotated[bool, typer.Option("--llm", help="Let the LLM of [llm] write some.")] = False,
    budget: Annotated[
        float | None, typer.Option(help="With --llm: all runs of the job cost no more than this.")
    ] = None,
    items: Annotated[int, typer.Option(help="With --llm: for so many items.", min=1)] = 1_000,
    job: Annotated[str, typer.Option(help="With --llm: name in the ledger.")] = "queries",
    prompt: Annotated[str, typer.Option(help="Prompt, with its version.")] = "queries-1",
    estimate: Annotated[
        bool, typer.Option("--estimate", help="With --llm: only tell what it would cost.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Find candidates, keep what passes all tests. Exit 1 = the LLM did not write everything."""
    from serendip.jobs.context import JobContext
    from serendip.jobs.llm_job import LlmJob
    from serendip.jobs.suggestions.build import build_queries
    from serendip.jobs.suggestions.write_by_llm import write_queries

    terminal = Terminal(json)
    context = JobContext.open(workspace, terminal.options())
    spend = asked_budget(llm, budget, estimate)
    if spend is None:
        name, built = build_queries(context)
        _tell(terminal, name, built.report)
        terminal.result({"version": name, **built.report})
        return

    def tell(told: CostEstimate) -> None:
        terminal.say(
            f"{told.questions:,} items, {told.known:,} written for before; "
            f"about {told.price:.4g}, at most {told.most:.4g} if each is sent once"
        )

    llm_job = LlmJob(job, spend, estimate, tell)
    name, written, facts = write_queries(context, llm_job, items, prompt)
    if written is None:
        terminal.result(facts)
        return
    _tell(terminal, name, written.report)
    terminal.result({"version": name, **written.report, "llm": facts})
    terminal.say(f"{facts['state']}: {facts['written']:,} written, spent {facts['spent']:.4g}")
    if facts["state"] == "partial":
        terminal.say(f"  {facts['reason'] or 'some questions failed'}; run it again to go on")
        raise typer.Exit(1)


def _tell(terminal: Terminal, name: str, report: Mapping[str, Any]) -> None:
    """Candidates and kept ones of each source, and what fell to which test."""
    terminal.say(f"{name}: {report['queries']:,} queries, and {report['titles']:,} titles")
    for source, count in report["candidates"].items():
        kept = report["by_source"].get(source, 0)
        terminal.say(f"  {source:<16} {count:8,} candidates {kept:8,} kept")
    for test, count in report["dropped"].items():
        terminal.say(f"  {test:<16} {count:8,} dropped")
