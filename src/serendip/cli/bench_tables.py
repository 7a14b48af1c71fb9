"""Rows and tables of benchmarks for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import typer

from serendip.cli.terminal import Terminal


def row_teller(
    terminal: Terminal, columns: Mapping[str, str]
) -> Callable[[Mapping[str, Any]], None]:
    """Says each row on stderr as it is finished."""

    def show(row: Mapping[str, Any]) -> None:
        task = f"{task_text(row)}, " if "task" in row else ""
        typed = f", {row['typed']} typed" if "typed" in row else ""
        name = f"{task}{row.get('mode', row['model'])}{typed} (seed {row['seed']})"
        if "reason" in row:
            terminal.say(f"  {name:<30} skipped: {row['reason']}")
            return
        values = "  ".join(f"{title} {_text(column, row)}" for column, title in columns.items())
        terminal.say(f"  {name:<30} {values}")

    return show


def task_text(row: Mapping[str, Any]) -> str:
    """Task, and set of requests where it has one."""
    return f"{row['task']} {row['set']}" if "set" in row else str(row["task"])


def show_summary(document: Mapping[str, Any], columns: Mapping[str, str]) -> None:
    """The table: means over seeds, intervals at 10."""
    models = document["summary"]["models"]
    lines = [["model", *columns.values()]]
    for name, row in models.items():
        lines.append([name, *(_text(column, row, with_ci=True) for column in columns)])
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    if document.get("encode_cpu_s") is not None:
        typer.echo(f"Encoding the texts of the items: {document['encode_cpu_s']:.1f} CPU s")


def _text(column: str, row: Mapping[str, Any], with_ci: bool = False) -> str:
    value = row.get(column)
    if value is None:
        return "-"
    if column == "pairs":
        return f"{value:,}"
    if column.endswith(("_s", "_mb", "_200", "_ms")):
        return f"{value:.1f}" if value < 10 else f"{value:.0f}"
    text = share_text(value)
    has_room = column.endswith("@10") or column == "auroc"
    ends = row["ci95"].get(column) if with_ci and has_room else None
    return f"{text} ({share_text(ends[0])}-{share_text(ends[1])})" if ends else text


def share_text(value: float) -> str:
    """Four digits without the zero before the point."""
    return f"{value:.4f}".replace("0.", ".", 1)
