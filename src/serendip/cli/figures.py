"""``serendip figures``: what people did with answers, from the event log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption

if TYPE_CHECKING:
    from serendip.engine.figures import Figure


def run(
    workspace: WorkspaceOption = Path(),
    days: Annotated[float, typer.Option(min=0, help="They are of the last so many days.")] = 7.0,
    by: Annotated[
        Literal["surfaces", "queries", "items"],
        typer.Option(help="What is listed."),
    ] = "surfaces",
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of listed ones.")] = 20,
    json: JsonOption = False,
) -> None:
    """Show searches, searches without results, clicks, their places, CTR and conversions."""
    from serendip.engine.engine import Engine

    terminal = Terminal(json)
    with Engine.open(workspace) as engine:
        figures = engine.figures(days, limit)
    terminal.say(*_describe([figures.total, *getattr(figures, by)]))
    new = "" if figures.new_share is None else f"; {figures.new_share:.1%} of it new"
    terminal.say(f"shown: {figures.coverage:.1%} of the catalogue{new}")
    terminal.result(asdict(figures))


def _describe(figures: Iterable[Figure]) -> Iterator[str]:
    yield (
        f"{'':<32}{'answers':>9}{'searches':>9}{'failed':>8}{'shown':>10}{'clicks':>8}{'CTR':>7}"
        f"{'sold':>7}{'place':>7}"
    )
    for one in figures:
        name = (one.title or one.name or "all")[:31]
        rate = "" if one.click_rate is None else f"{one.click_rate:.1%}"
        place = "" if one.place is None else f"{one.place:.1f}"
        yield (
            f"{name:<32}{one.answers:>9,}{one.searches:>9,}{one.without_results:>8,}"
            f"{one.shown:>10,}{one.clicks:>8,}{rate:>7}{one.conversions:>7,}{place:>7}"
        )
