"""``serendip recommend`` and ``embed``: for one user, or for all into a file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serendip.cli.terminal import EstimateOption, JsonOption, Terminal, WorkspaceOption
from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip.engine.request import Request


def run(
    workspace: WorkspaceOption = Path(),
    surface: Annotated[
        str, typer.Option(help="home, similar, cart, ... or a surface of your settings.")
    ] = "home",
    user: Annotated[str, typer.Option(help="User id; empty = a new visitor.")] = "",
    item: Annotated[list[str] | None, typer.Option(help="Context item; repeatable.")] = None,
    query: Annotated[str, typer.Option(help="Query text, for a search surface.")] = "",
    country: Annotated[
        str, typer.Option(help="Country of the request; empty = that of the user.")
    ] = "",
    device: Annotated[str, typer.Option(help="Kind of device; empty = unknown.")] = "",
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="genres=Comedy|Drama, brand!=Acme, year>=1990; repeatable."),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            help="Attribute of numbers; -price = from the largest, -available_from = the newest."
        ),
    ] = "",
    k: Annotated[int, typer.Option("-k", help="Largest number of items per user.")] = 10,
    batch: Annotated[bool, typer.Option("--batch", help="Write all users to --out.")] = False,
    out: Annotated[Path | None, typer.Option(help="Parquet file for --batch.")] = None,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="With --batch: a column with the reason of each item.")
    ] = False,
    language: Annotated[str, typer.Option(help="Language of the reasons: en or ko.")] = "",
    budget: Annotated[
        float | None,
        typer.Option(
            help="With --reasons: the LLM of [llm] words them; most that all runs may cost."
        ),
    ] = None,
    estimate: EstimateOption = False,
    json: JsonOption = False,
) -> None:
    """Recommend for one user, or with --batch for all users into a Parquet file.

    Exit 1 = the LLM did not answer all questions.
    """
    terminal = Terminal(json)
    is_worded = budget is not None or estimate
    if is_worded and not (batch and reasons):
        raise ConfigError(
            "--budget or --estimate without --batch --reasons.", "Add both; an LLM words reasons."
        )
    if batch and sort:
        raise ConfigError("--sort with --batch.", "Leave it out; the file has scores to sort.")
    if batch and out is None:
        raise ConfigError("--batch needs --out.", "Add --out recommendations.parquet.")
    from serendip.engine.request import Request

    request = Request(surface, country=country, device=device, k=k, language=language)
    request = replace(request, filters=tuple(filters or ()), sort=sort)
    if not batch or out is None:
        asked = replace(request, user_id=user, text=query, item_ids=tuple(item or ()))
        _recommend(terminal, workspace, asked)
        return
    from serendip.jobs.exports.recommendations import recommend_all
    from serendip.jobs.llm.job import write
    from serendip.runtime.atomic_files import require_writable

    require_writable(out)
    request = replace(request, reasons=reasons)
    limits = "reasons", budget or 0.0, estimate, terminal.print_estimate
    with terminal.job("recommendations", workspace, on_engine=True) as context:
        ask = (lambda writing: write(context, writing, *limits)) if is_worded else None
        summary = recommend_all(workspace, request, out, context.options, ask=ask)
    _print_batch(terminal, summary)


def _recommend(terminal: Terminal, workspace: Path, request: Request) -> None:
    from serendip.engine.engine import Engine

    with closing(Engine.open(workspace)) as engine:
        answer = engine.recommend(request)
        for position, result in enumerate(answer.items, 1):
            shown = engine.item(result.item_id)
            title = (shown.title if shown else "") or result.item_id
            reason = f"Sponsored. {result.reason}" if result.sponsored else result.reason
            terminal.say(f"{position:3}  {title:<44} {result.score:8.4f}  {reason}")
        terminal.result(asdict(answer))


def _print_batch(terminal: Terminal, summary: Mapping[str, Any]) -> None:
    terminal.result(summary)
    if "rows" not in summary:  # Only the cost was asked.
        return
    terminal.say(f"{summary['rows']:,} rows for {summary['users']:,} users in {summary['out']}")
    for count, users in summary["users_by_items"].items():
        terminal.say(f"  {int(count) or 'no':>4} items: {users:,} users")
    if told := summary.get("llm"):
        count = f"{told['written']:,} of {told['sentences']:,}"
        terminal.say(f"{count} sentences of reasons worded, spent {told['spent']:.4g}")
        if told["state"] == "partial":
            terminal.print_incomplete(told["reason"])
            raise typer.Exit(1)


def embed(
    kind: Annotated[
        Literal["items", "users", "queries"], typer.Argument(help="What has a vector each.")
    ],
    workspace: WorkspaceOption = Path(),
    file: Annotated[
        Path | None,
        typer.Option(help="Text with one query per line. Default: those of the event log."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Parquet file. Default: embeddings/ of the workspace.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write the vectors of all items, of the users with events, or of queries to a Parquet file."""
    from serendip.jobs.exports.embeddings import embed as write_vectors

    if file is not None and kind != "queries":
        raise ConfigError(f"--file with {kind}.", "Leave it out; it is for queries.")
    terminal = Terminal(json)
    with terminal.job("vectors", workspace, on_engine=True) as context:
        summary = write_vectors(workspace, kind, out, context.options, file)
    terminal.say(
        f"{summary['rows']:,} vectors of {summary['dimensions']} numbers in {summary['out']}"
    )
    parts = ", ".join(f"{width} {part}" for part, width in summary["parts"].items())
    terminal.say(f"  {summary['generation']}, space {summary['space']}: {parts}")
    terminal.result(summary)
