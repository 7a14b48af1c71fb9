"""``serendip``: the command line; parses options, calls the library and prints results.

Exit codes: 0 success, 1 a check failed or an unexpected error, 2 wrong option or configuration,
3 wrong data, 4 nothing trained, 5 broken artefact, 6 unsupported request, 7 optional package
missing, 8 database error, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import entry_points

import typer

from serendip import __version__
from serendip.cli import (
    backup,
    consume,
    data,
    demo,
    erase,
    experiment,
    figures,
    judge,
    keys,
    llm,
    recommend,
    rules,
    serve,
    status,
    train,
)
from serendip.errors import SerendipError
from serendip.runtime.threads import collect_seldom, limit_threads

app = typer.Typer(
    name="serendip",
    help="One engine for search and recommendations.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("init")(data.init)
app.command("import")(data.import_files)
app.command("consume")(consume.run)
app.command("doctor")(data.doctor)
app.command("train")(train.run)
app.command("status")(status.show_status)
app.command("evaluate")(train.evaluate)
app.command("figures")(figures.run)
app.command("serve")(serve.run)
app.command("mcp")(serve.serve_assistant)
app.command("recommend")(recommend.run)
app.command("rollback")(status.roll_back)
app.command("backup")(backup.back_up)
app.command("restore")(backup.restore)
app.command("export")(data.export)
app.command("embed")(recommend.embed)
app.command("demo")(demo.run)
plugins = sorted(entry_points(group="serendip.commands"), key=lambda entry: entry.name)
groups = (erase, experiment, judge, keys, llm, rules, *(one.load() for one in plugins))
for group in (status.settings, status.semantic_ids, *(one.app for one in groups)):
    app.add_typer(group)


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Show the version and stop."),
) -> None:
    """One engine for search and recommendations."""
    if version:
        typer.echo(f"serendip {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a ``SerendipError`` is printed and sets the exit code."""
    limit_threads()
    collect_seldom()
    try:
        app()
    except SerendipError as error:
        _report(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _report(error: SerendipError) -> None:
    if "--json" in sys.argv:
        document = {"error": {"type": error.kind, "message": error.message, "hint": error.hint}}
        typer.echo(json.dumps(document, ensure_ascii=False))
    typer.echo(f"error: {error.message}", err=True)
    if error.hint:
        typer.echo(f"  {error.hint}", err=True)
