"""``serendip judge``: relevance labels by people and by an LLM, and the model trained on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from serendip.cli.terminal import (
    JsonOption,
    Terminal,
    WorkspaceOption,
    build_group,
)

_LISTS_HELP = "File of `judge lists` that was labelled; default: the labels are of typed texts."

app = build_group(
    "judge",
    "Label pairs of requests and items, distil a relevance model from labels.",
)


@app.command("lists")
def lists(
    surface: Annotated[str, typer.Option(help="Surface, such as home or digest.")],
    out: Annotated[Path, typer.Option(help="CSV file of lists, to be labelled as pairs.")],
    workspace: WorkspaceOption = Path(),
    users: Annotated[int, typer.Option(help="Number of lists, each of another user.")] = 200,
    length: Annotated[
        int, typer.Option(help="Items of a list: the ten shown ones and those that may move up.")
    ] = 20,
    json: JsonOption = False,
) -> None:
    """Draw lists of a surface to label, each with a short description of its user's past."""
    from serendip.jobs.labels.draw_lists import draw_lists

    terminal = Terminal(json)
    with terminal.job("lists", workspace) as context:
        result = draw_lists(context, surface, out, users, length)
    terminal.result(result)
    terminal.say(f"{result['lists']:,} lists, {result['pairs']:,} pairs in {out}")


@app.command("distil")
def distil(
    labels: Annotated[Path, typer.Option(help="Labels to train on: query, item_id, label.")],
    gold: Annotated[Path, typer.Option(help="Gold labels, by people: query, item_id, label.")],
    workspace: WorkspaceOption = Path(),
    floor: Annotated[
        float, typer.Option(help="Lowest kappa of the gate, for labels by an LLM.")
    ] = 0.6,
    seen: Annotated[
        list[Path] | None,
        typer.Option(help="Pairs whose queries a prompt was tuned on; repeatable."),
    ] = None,
    lists: Annotated[Path | None, typer.Option(help=_LISTS_HELP)] = None,
    json: JsonOption = False,
) -> None:
    """Train the relevance model; publish it if its labels pass the gate, else exit 1."""
    from serendip.jobs.relevance.distil import distil as distil_labels
    from serendip.jobs.train.train import train_workspace

    terminal = Terminal(json)
    with terminal.job("relevance model", workspace) as context:
        result, models = distil_labels(context, labels, gold, floor, seen or (), lists)
        if models:
            result["generation"] = train_workspace(context, rebuild=False, distilled=models).name
    terminal.result(result)
    if not models:
        terminal.say(f"refused: {result['gate']['reason']}")
        raise typer.Exit(1)
    terminal.say(*_describe_distillation(result))


def _describe_distillation(result: dict[str, Any]) -> list[str]:
    from serendip.jobs.relevance.decisions import GOAL

    low, high = result["ci95"]["auroc"]
    effect = result["filter"]
    threshold = effect["safe_threshold"]
    return [
        f"{result['generation']} is published.",
        f"  AUROC {result['auroc']:.3f} ({low:.3f} to {high:.3f}) on "
        f"{result['pairs']['gold']:,} pairs of {result['queries']['gold']:,} unseen queries",
        *_describe_users(result),
        f"  {GOAL}: "
        + ("no threshold is proven safe" if threshold is None else f"threshold {threshold:.3f}"),
        f"  replacing a tenth: threshold {effect['tenth_threshold']:.3f}, irrelevant share "
        f"{effect['tenth']['irrelevant_before']:.3f} -> {effect['tenth']['irrelevant_after']:.3f}",
        f"  `threshold` of [surfaces.{result['labels']}.relevance_filter] changes it",
    ]


def _describe_users(result: dict[str, Any]) -> Iterator[str]:
    """Whether the model knows the user; nothing, if the requests have none."""
    if result["user_gain"] is None:
        return
    gain = result["user_gain"]
    does = "knows" if gain["on"] else "does not know"
    yield (
        f"  the model {does} the user: {gain['name']} {gain['gain']:+.3f} ({gain['low']:+.3f} to "
        f"{gain['high']:+.3f})"
    )
