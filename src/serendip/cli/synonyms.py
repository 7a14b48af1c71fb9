"""``serendip synonyms``: other words for what people type, proposed and reviewed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption, asked_budget

if TYPE_CHECKING:
    from serendip.llm.runner import CostEstimate
    from serendip.search.synonyms import State, Synonym

NAME = "synonyms"
HELP = "Propose, look at, accept and reject other words for what people type."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

TermArgument = Annotated[str, typer.Argument(help="What people type.")]
AlsoArgument = Annotated[
    str, typer.Argument(help="What to look for, too; left out: all that is proposed for the term.")
]


@app.command("build")
def build(
    workspace: WorkspaceOption = Path(),
    llm: Annotated[bool, typer.Option("--llm", help="Let the LLM of [llm] propose.")] = False,
    budget: Annotated[
        float | None, typer.Option(help="With --llm: all runs of the job cost no more than this.")
    ] = None,
    terms: Annotated[int, typer.Option(help="With --llm: about so many terms.", min=1)] = 1_000,
    job: Annotated[str, typer.Option(help="With --llm: name in the ledger.")] = "synonyms",
    prompt: Annotated[str, typer.Option(help="Prompt, with its version.")] = "synonyms-1",
    estimate: Annotated[
        bool, typer.Option("--estimate", help="With --llm: only tell what it would cost.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Propose pairs from logged searches and from vectors of words, or by an LLM.

    The table keeps what it has. Exit 1 = the LLM did not answer everything.
    """
    from serendip.jobs.context import JobContext
    from serendip.jobs.llm_job import LlmJob
    from serendip.jobs.synonyms.mine import build_synonyms
    from serendip.jobs.synonyms.write_by_llm import write_synonyms_by_llm

    terminal = Terminal(json)
    context = JobContext.open(workspace, terminal.options())
    file = context.workspace.synonyms
    spend = asked_budget(llm, budget, estimate)
    if spend is None:
        rows, new = build_synonyms(context)
        terminal.result(_tell(terminal, file, rows, new))
        return

    def tell(told: CostEstimate) -> None:
        terminal.say(
            f"{told.questions:,} terms, {told.known:,} asked about before; "
            f"about {told.price:.4g}, at most {told.most:.4g} if each is sent once"
        )

    llm_job = LlmJob(job, spend, estimate, tell)
    rows, facts = write_synonyms_by_llm(context, llm_job, terms, prompt)
    if estimate:
        terminal.result(facts)
        return
    terminal.result({**_tell(terminal, file, rows, facts["new"]), "llm": facts})
    terminal.say(f"{facts['state']}: spent {facts['spent']:.4g}")
    for test, count in facts["dropped"].items():
        terminal.say(f"  {test:<24} {count:8,} dropped")
    if facts["state"] == "partial":
        terminal.say(f"  {facts['reason'] or 'some questions failed'}; run it again to go on")
        raise typer.Exit(1)


def _tell(terminal: Terminal, file: Path, rows: Sequence[Synonym], new: int) -> dict[str, Any]:
    """What the table has now, for people; returned for programs."""
    states = Counter(row.state for row in rows)
    told = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
    terminal.say(f"{new:,} pairs are new in {file}: {told or 'nothing'}.")
    terminal.say("Only accepted ones are searched: `serendip synonyms accept TERM [ALSO]`.")
    return {"new": new, "states": dict(states), "file": str(file)}


@app.command("show")
def show(
    term: Annotated[str, typer.Argument(help="Only of this term.")] = "",
    state: Annotated[str, typer.Option("--state", help="Only of this state.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many.")] = 50,
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """The pairs of the table, surest first."""
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
        sure = f"{row.confidence:.2f} {row.source}"
        terminal.say(f"{row.state:<9} {row.term}  ->  {row.also}  ({sure})")
    terminal.say(f"{min(limit, len(rows)):,} of {len(rows):,} pairs.")
    terminal.result({"pairs": [asdict(row) for row in rows[:limit]], "total": len(rows)})


@app.command("accept")
def accept(
    term: TermArgument,
    also: AlsoArgument = "",
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Search a pair from the next opening on; one that nobody proposed is added."""
    _judge(term, also, "accepted", workspace, json)


@app.command("reject")
def reject(
    term: TermArgument,
    also: AlsoArgument = "",
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Never search or propose a pair."""
    _judge(term, also, "rejected", workspace, json)


def _judge(term: str, also: str, state: State, workspace: Path, json: bool) -> None:
    from serendip.engine.workspace import Workspace
    from serendip.search.synonyms import changed_synonyms, judged

    terminal, path = Terminal(json), Workspace.open(workspace).synonyms
    before, after = changed_synonyms(path, lambda rows: judged(rows, term, also, state))
    changed = [row for row in after if row not in before]
    for row in changed:
        terminal.say(f"{row.state}: {row.term}  ->  {row.also}")
    terminal.result({"changed": [[row.term, row.also] for row in changed], "state": state})
