"""``serendip synonyms``: proposes synonyms, and accepts or rejects them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
    from serendip.llm.runner import CostEstimate
    from serendip.search.synonyms import State, Synonym

NAME = "synonyms"
HELP = "Propose, show, accept and reject synonyms of query terms."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

TermArgument = Annotated[str, typer.Argument(help="Term of a query.")]
AlsoArgument = Annotated[
    str, typer.Argument(help="Its synonym. Default: all proposed synonyms of the term.")
]


@app.command("build")
def build(
    workspace: WorkspaceOption = Path(),
    llm: Annotated[bool, typer.Option("--llm", help="Propose by the LLM of [llm].")] = False,
    budget: LlmBudgetOption = None,
    terms: Annotated[int, typer.Option(help="With --llm: largest number of terms.", min=1)] = 1_000,
    job: Annotated[str, typer.Option(help="With --llm: name in the ledger.")] = "synonyms",
    prompt: Annotated[str, typer.Option(help="Prompt, with its version.")] = "synonyms-1",
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

    def print_estimate(cost: CostEstimate) -> None:
        terminal.say(
            f"{cost.questions:,} terms, {cost.known:,} of them in the ledger; "
            f"about {cost.price:.4g}, at most {cost.most:.4g} without repeated requests"
        )

    llm_job = LlmJob(job, spend, estimate, print_estimate)
    with terminal.job("synonyms", workspace) as context:
        rows, facts = write_synonyms_by_llm(context, llm_job, terms, prompt)
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
    terminal.say("Search uses accepted pairs only. Next: serendip synonyms accept TERM [ALSO]")
    return {"new": new, "states": dict(states), "file": str(file)}


@app.command("show")
def show(
    term: Annotated[str, typer.Argument(help="Only pairs of this term.")] = "",
    state: Annotated[str, typer.Option("--state", help="Only pairs in this state.")] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Largest number of pairs to list.")
    ] = 50,
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """List the pairs of the table by descending confidence."""
    from dataclasses import asdict

    from serendip.data.text import normalise
    from serendip.engine.workspace import Workspace
    from serendip.search.synonyms import read_synonyms

    terminal = Terminal(json)
    rows = [
        row
        for row in read_synonyms(Workspace.open(workspace).synonyms)
        if (not term or row.term == normalise(term)) and state in ("", row.state)
    ]
    rows.sort(key=lambda row: (-row.confidence, row.key))
    for row in rows[:limit]:
        origin = f"{row.confidence:.2f} {row.source}"
        terminal.say(f"{row.state:<9} {row.term}  ->  {row.also}  ({origin})")
    terminal.say(f"{min(limit, len(rows)):,} of {len(rows):,} pairs.")
    terminal.result({"pairs": [asdict(row) for row in rows[:limit]], "total": len(rows)})


@app.command("accept")
def accept(
    term: TermArgument,
    also: AlsoArgument = "",
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Accept a pair, which is added if it was not proposed; search uses it when it next opens."""
    _review(term, also, "accepted", workspace, json)


@app.command("reject")
def reject(
    term: TermArgument,
    also: AlsoArgument = "",
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Reject a pair; it is neither used nor proposed again."""
    _review(term, also, "rejected", workspace, json)


def _review(term: str, also: str, state: State, workspace: Path, json: bool) -> None:
    """Set the state of a pair, or of all proposed pairs of a term."""
    from serendip.engine.workspace import Workspace
    from serendip.search.synonyms import change_synonyms, set_state

    terminal, path = Terminal(json), Workspace.open(workspace).synonyms
    before, after = change_synonyms(path, lambda rows: set_state(rows, term, also, state))
    changed = [row for row in after if row not in before]
    for row in changed:
        terminal.say(f"{row.state}: {row.term}  ->  {row.also}")
    terminal.result({"changed": [[row.term, row.also] for row in changed], "state": state})
