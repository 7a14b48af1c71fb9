"""``serendip keys``: creates, lists and revokes the API keys of a workspace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption, build_group, open_workspace

if TYPE_CHECKING:
    from serendip.data.api_key import ApiKey
    from serendip.data.store.tables.api_keys import ApiKeys

app = build_group("keys", "Create, list and revoke the keys of the service.")

KeyArgument = Annotated[str, typer.Argument(help="Id of the key, from `serendip keys list`.")]


@app.command("create")
def create(
    workspace: WorkspaceOption = Path(),
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    scope: Annotated[
        list[str],
        typer.Option(help="What it allows: read, write, read:users, admin. May be repeated."),
    ] = ["read"],  # noqa: B006 - typer reads it once
    expires: Annotated[
        str | None, typer.Option(help="How long it is valid, such as 90d. Default: for ever.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create a key and show it once.

    With the first key of a workspace its service asks for keys, for good.
    """
    from serendip.data.api_key import issue_key
    from serendip.runtime.budget import parse_duration

    lifetime_s = None if expires is None else parse_duration(expires)
    issued = issue_key(name, scope, lifetime_s)
    with _open_keys(workspace) as keys:
        keys.add(issued)
    terminal, now = Terminal(json), time.time()
    if not json:
        terminal.say(_describe(issued.key, now))
        terminal.say(f"  {issued.text}")
        terminal.say("  Keep it: it is not shown again. Send it as `Authorization: Bearer KEY`.")
    terminal.result(_to_json(issued.key, now) | {"key": issued.text})


@app.command("list")
def list_keys(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """List all keys, oldest first, without their secrets."""
    terminal, now = Terminal(json), time.time()
    with _open_keys(workspace) as keys:
        found = list(keys.read().keys.values())
    if not found:
        terminal.say("No keys: the service answers everybody, on this machine only.")
    for key in found:
        terminal.say(_describe(key, now))
    terminal.result({"keys": [_to_json(key, now) for key in found]})


@app.command("revoke")
def revoke(key: KeyArgument, workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Revoke a key; a running service refuses it within a second."""
    terminal, now = Terminal(json), time.time()
    with _open_keys(workspace) as keys:
        revoked = keys.revoke(key, now)
    terminal.say(_describe(revoked, now))
    terminal.result(_to_json(revoked, now))


@contextmanager
def _open_keys(workspace: Path) -> Iterator[ApiKeys]:
    from serendip.data.store.tables.api_keys import ApiKeys

    with closing(ApiKeys.open(open_workspace(workspace).database)) as keys:
        yield keys


def _describe(key: ApiKey, now: float) -> str:
    end = "" if key.expires is None else f", until {format_time(key.expires)}"
    name = f" {key.name!r}" if key.name else ""
    return f"{key.key_id}{name}: {key.state(now)}, {' '.join(sorted(key.scopes))}{end}"


def _to_json(key: ApiKey, now: float) -> dict[str, Any]:
    facts = asdict(key) | {"scopes": sorted(key.scopes), "state": key.state(now)}
    del facts["hash"]
    return facts


def format_time(seconds: float) -> str:
    """A time in Unix seconds, for people."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
