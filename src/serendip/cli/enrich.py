"""``serendip enrich``: texts about thin items, and whether they may be used."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

if TYPE_CHECKING:
    from serendip.data.store.generated_texts import WrittenField, WrittenSource
    from serendip.llm.runner import CostEstimate

NAME = "enrich"
HELP = "Write what thin items lack, measure whether it helps, use it, take it back."


class Writer(StrEnum):
    """Who writes."""

    LLM = "llm"
    RULES = "rules"


class Kind(StrEnum):
    """What is written."""

    KEYWORDS = "keywords"
    DESCRIPTION = "description"
    ATTRIBUTES = "attributes"


app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("run")
def run(
    budget: Annotated[
        float | None, typer.Option(help="All runs with an LLM cost no more than this.")
    ] = None,
    writer: Annotated[Writer, typer.Option(help="An LLM, or rules at no price.")] = Writer.LLM,
    fields: Annotated[
        list[Kind] | None, typer.Option(help="What is kept; repeatable. Default: all.")
    ] = None,
    workspace: WorkspaceOption = Path(),
    prompt: Annotated[str, typer.Option(help="Prompt, with its version.")] = "enrich-1",
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only tell what it would cost.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write about items with hardly a description; nothing is used yet. Exit 1 = partial."""
    from serendip.jobs.context import JobContext
    from serendip.jobs.enrich.write import TextWriting, write_texts

    terminal = Terminal(json)

    def tell(told: CostEstimate) -> None:
        terminal.say(
            f"{told.questions:,} different items, {told.known:,} written about before; "
            f"about {told.price:.4g}, at most {told.most:.4g} if each is sent once"
        )

    kinds = cast("list[WrittenField]", [one.value for one in fields or Kind])
    writing = TextWriting(writer.value, kinds, budget, prompt, estimate, tell)
    found = write_texts(JobContext.open(workspace, terminal.options()), writing)
    terminal.result(found)
    if estimate:
        terminal.say(f"{found['thin']:,} of {found['items']:,} items are thin")
        return
    spent = f"; spent {found['spent']:.4g} of {budget:.4g}" if writer == Writer.LLM else ""
    terminal.say(
        f"{found['state']}: {found['texts']:,} texts about {found['written']:,} of "
        f"{found['thin']:,} thin items{spent}; `serendip enrich gate` says whether they are used"
    )
    if found["state"] == "partial":
        terminal.say(f"  {found['reason'] or 'some questions failed'}; run it again to go on")
        raise typer.Exit(1)


@app.command("gate")
def gate(
    workspace: WorkspaceOption = Path(),
    writer: Annotated[
        list[Writer] | None, typer.Option(help="Whose texts; repeatable. Default: all.")
    ] = None,
    judgements: Annotated[
        Path | None,
        typer.Option(help="Judged queries: query, item_id, label. Default: new ones of the log."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Use the texts at the next training if items are found better. Exit 1 = they are not used."""
    from serendip.jobs.context import JobContext
    from serendip.jobs.enrich.gate import TextGate, gate_texts

    terminal = Terminal(json)
    sources = cast("list[WrittenSource]", [one.value for one in writer or Writer])
    asked = TextGate(sources, judgements)
    found = gate_texts(JobContext.open(workspace, terminal.options()), asked)
    terminal.result(found)
    terminal.say(_verdict(found))
    if found["verdict"] != "passed":
        raise typer.Exit(1)


@app.command("show")
def show(
    workspace: WorkspaceOption = Path(),
    limit: Annotated[int, typer.Option(min=0, help="Texts that are listed.")] = 10,
    json: JsonOption = False,
) -> None:
    """What was written, by whom, and whether it is used."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.enrich.gate import describe_texts

    terminal = Terminal(json)
    found = describe_texts(Workspace.open(workspace), limit)
    terminal.result(found)
    terminal.say(
        f"{found['texts']:,} texts, {found['active']:,} in use, {found['outdated']:,} about items "
        "that have changed since"
    )
    for row in found["counts"]:
        terminal.say(f"  {row['texts']:,} x {row['field']} by {row['source']}")
    if found["gate"]:
        terminal.say(_verdict(found["gate"]))
    for row in found["listed"]:
        terminal.say(f"  {row['item_id']} {row['field']} by {row['model']}: {row['text']}")


@app.command("revert")
def revert(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Take all texts out; the next training is as if there had been none."""
    from serendip.engine.workspace import Workspace
    from serendip.jobs.enrich.gate import revert_texts

    terminal = Terminal(json)
    removed = revert_texts(Workspace.open(workspace))
    terminal.result({"removed": removed})
    terminal.say(f"{removed:,} texts taken out; `serendip train` publishes without them")


def _verdict(found: dict[str, Any]) -> str:
    if found["verdict"] == "refused":
        return f"refused: {found['reason']}"
    one = found["difference"]["both"]
    return (
        f"{found['verdict']}: {found['metric']} {found['without']['both']:.4f} without and "
        f"{found['with']['both']:.4f} with {found['texts']:,} texts, difference "
        f"{one['value']:+.4f} ({one['low']:+.4f} to {one['high']:+.4f}) over "
        f"{found['queries']:,} held-out queries"
    )
