"""``serendip synonyms``: proposes synonyms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.cli.terminal import (
    EstimateLlmOption,
    JsonOption,
    LlmBudgetOption,
    Terminal,
    WorkspaceOption,
    require_budget,
)

if TYPE_CHECKING:
    from serendip.search.synonyms import Synonym

NAME = "synonyms"
HELP = "Propose synonyms of query terms."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("build")
def build(
    workspace: WorkspaceOption = Path(),
    llm: Annotated[bool, typer.Option("--llm", help="Propose by the LLM of [llm].")] = False,
    budget: LlmBudgetOption = None,
    terms: Annotated[int, typer.Option(help="With --llm: largest number of terms.", min=1)] = 1_000,
    estimate: EstimateLlmOption = False,
    json: JsonOption = False,
) -> None:
    """Propose pairs from logged searches and from word vectors, or by an LLM.

    Existing pairs are not changed. Exit 1 = the LLM did not answer all questions.
    """
    from serendip.jobs.llm.job import LlmJob
    from serendip.jobs.synonyms.mine import build_synonyms
    from serendip.jobs.synonyms.write_by_llm import write_synonyms_by_llm

    terminal = Terminal(json)
    spend = require_budget(llm, budget, estimate)
    if spend is None:
        with terminal.job("synonyms", workspace) as context:
            rows, new = build_synonyms(context)
        terminal.result(_print_table(terminal, context.workspace.synonyms, rows, new))
        return

    llm_job = LlmJob("synonyms", spend, estimate, partial(terminal.print_estimate, "terms"))
    with terminal.job("synonyms", workspace) as context:
        rows, facts = write_synonyms_by_llm(context, llm_job, terms)
    if estimate:
        terminal.result(facts)
        return
    table = _print_table(terminal, context.workspace.synonyms, rows, facts["new"])
    terminal.result({**table, "llm": facts})
    terminal.say(f"{facts['state']}: spent {facts['spent']:.4g}")
    for test, count in facts["dropped"].items():
        terminal.say(f"  {test:<24} {count:8,} dropped")
    if facts["state"] == "partial":
        terminal.print_incomplete(facts["reason"])
        raise typer.Exit(1)


def _print_table(
    terminal: Terminal, file: Path, rows: Sequence[Synonym], new: int
) -> dict[str, Any]:
    """Print the number of pairs by state, and return it for JSON."""
    states = Counter(row.state for row in rows)
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
    terminal.say(f"{new:,} new pairs in {file}; all pairs: {counts or 'none'}.")
    terminal.say("Search uses accepted pairs only. Next: set the column state to accepted.")
    return {"new": new, "states": dict(states), "file": str(file)}
