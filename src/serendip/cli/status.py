"""``serendip status``, ``rollback``, ``config`` and ``ids``: what is in force, and what was."""

from __future__ import annotations

import json as json_text
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.cli.terminal import (
    JsonOption,
    Terminal,
    WorkspaceOption,
    build_group,
    open_workspace,
)

if TYPE_CHECKING:
    from serendip.jobs.status import InForce, StorageStatus, WorkspaceStatus
    from serendip.jobs.train.staleness import GenerationAge


def show_status(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Show what is in force, what came since, whether it is stale, and trainings."""
    from serendip.jobs.status import read_status

    terminal = Terminal(json)
    status = read_status(open_workspace(workspace))
    terminal.say(*describe(status))
    terminal.result(status.as_dict())


def describe(status: WorkspaceStatus) -> Iterator[str]:
    """Yield lines for people."""
    if status.in_force is not None:
        yield from _describe_generation(status.in_force)
    else:
        yield f"in force     {status.damage or 'nothing: run `serendip train`'}"
    yield from describe_age(status.age)
    yield from _describe_trainings(status)
    if status.storage is not None:
        yield from _describe_storage(status.storage)


def _describe_generation(generation: InForce) -> Iterator[str]:
    counts = ", ".join(f"{number:,} {name}" for name, number in generation.counts.items())
    yield f"in force     {generation.name}, since {_moment(generation.since)}"
    start = f", continued from {generation.warm_start}" if generation.warm_start else ""
    yield f"  trained    {_moment(generation.created)} on {counts}{start}"
    for name, value in generation.quality.items():
        yield f"  quality    {name} of home {value:.4f} in the report"
    for decision in generation.decisions:
        yield f"  {'gate' if decision.must else 'decided':<10} {decision.describe()}"


def describe_age(age: GenerationAge) -> Iterator[str]:
    """Yield lines about what came since a training."""
    from serendip.jobs.train.staleness import describe_seconds

    if age.generation:
        events = "events were imported again or erased"
        if age.events is not None:
            events = f"{age.events:,} events"
        items = age.items
        parts = ((items.new, "new"), (items.changed, "changed"), (items.deleted, "deleted"))
        named = ", ".join(f"{count:,} {what}" for count, what in parts if count)
        yield f"since {age.generation:<6} {describe_seconds(age.age_s)}: {events}"
        yield f"  items      {named or 'as before'}"
    yield f"stale        {'yes: ' + '; '.join(age.reasons) if age.is_stale else 'no'}"


def _describe_trainings(status: WorkspaceStatus) -> Iterator[str]:
    training, last = status.training, status.last
    runs = "none runs" if training is None else f"runs{training.text and f': {training.text}'}"
    yield f"training     {runs}"
    if last is None:
        return
    yield f"  the last   {last.result} {_moment(last.ended)}: {last.generation or last.message}"
    if last.failures and status.age.wait_until:
        wait = _moment(status.age.wait_until)
        yield f"             {last.failures} in a row published nothing; the next one from {wait}"


def _describe_storage(storage: StorageStatus) -> Iterator[str]:
    yield f"storage      {storage.url}"
    if storage.problem:
        known = storage.in_force_here or "no generation"
        yield f"  problem    {storage.problem}"
        yield f"             this machine goes on with {known}"
    else:
        yield f"  has        {', '.join(storage.stored) or 'nothing yet'}"
        if storage.in_force.rpartition("-")[0] != storage.in_force_here:
            yield f"             this machine has not opened {storage.in_force or 'one'} yet"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def roll_back(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Make the previous generation current again.

    The switch is atomic; a running service follows in seconds.
    """
    from serendip.engine.artefacts.generations import rollback

    terminal, opened = Terminal(json), open_workspace(workspace)
    with opened.exclusive("generations") as require_held:
        generation = rollback(opened.generations, require_held)
    terminal.say(f"{generation.name} is current.")
    terminal.result({"generation": generation.name})


settings = build_group("config", "Show the settings that count.")


@settings.command("show")
def show_settings(workspace: WorkspaceOption = Path(), json: JsonOption = False) -> None:
    """Show every setting with its value and where it comes from; secrets are masked.

    An environment variable such as SERENDIP_TRAIN__BUDGET overrides `budget` of the table `train`
    in serendip.toml.
    """
    from serendip.engine.workspace import read_effective_settings

    terminal = Terminal(json)
    found = read_effective_settings(workspace, os.environ)
    for one in found:
        value = json_text.dumps(one.value, ensure_ascii=False)
        terminal.say(f"{one.key} = {value}   ({one.source or one.origin})")
    terminal.result({"settings": [asdict(one) for one in found]})


semantic_ids = build_group("ids", "Inspect semantic IDs.")


@semantic_ids.command("show")
def show_codes(
    name: Annotated[str, typer.Argument(help="Item id, or code prefix such as 12 or 12-7.")],
    workspace: WorkspaceOption = Path(),
    json: JsonOption = False,
) -> None:
    """Show an item with its codes and groups, or a group with its items and subgroups."""
    from serendip.jobs.semantic_ids import describe as describe_codes

    terminal = Terminal(json)
    summary = describe_codes(open_workspace(workspace), name)
    if "item_id" in summary:
        terminal.say(f"{summary['id']}  {summary['item_id']}  {summary['title']}")
        _print_groups(terminal, summary)
        terminal.say(f"  in {summary['version']}")
    else:
        terminal.say(f"{summary['prefix']}  {summary['members']:,} items  {summary['name']}")
        _print_groups(terminal, summary)
        for member in summary["items"]:
            terminal.say(f"  {member['id']:<12} {member['item_id']:<16} {member['title']}")
        _print_remaining(terminal, summary["members"] - len(summary["items"]), "items")
    terminal.result(summary)


def _print_groups(terminal: Terminal, summary: Mapping[str, Any]) -> None:
    groups = summary["groups"]
    terminal.say(
        *(f"  {one['prefix']:<12} {one['items']:>7,} items  {one['name']}" for one in groups)
    )
    _print_remaining(terminal, summary.get("num_groups", len(groups)) - len(groups), "groups")


def _print_remaining(terminal: Terminal, count: int, noun: str) -> None:
    if count:
        terminal.say(f"  and {count:,} more {noun}")
