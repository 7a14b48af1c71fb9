from collections.abc import Iterator
from typing import Any

import typer

from serendip.cli.main import app


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    if not children:
        yield name, command
    for child, below in children.items():
        yield from _commands(below, f"{name} {child}")


def test_every_command_prints_words_unless_json_is_requested() -> None:
    commands = dict(_commands(typer.main.get_command(app), "serendip"))
    defaults = {
        name: parameter.default
        for name, command in commands.items()
        for parameter in command.params
        if "--json" in parameter.opts
    }
    assert len(commands) > 25
    assert [name for name in commands if name not in defaults] == [
        "serendip serve",
        "serendip mcp",
    ]
    assert not any(defaults.values())


def test_a_service_runs_here_unless_it_is_told_otherwise() -> None:
    commands = dict(_commands(typer.main.get_command(app), "serendip"))
    options = {parameter.name: parameter for parameter in commands["serendip serve"].params}
    assert (options["engine"].default, options["address"].default) == ("local", "")
    assert "Default: `[engine]`" not in options["engine"].help
