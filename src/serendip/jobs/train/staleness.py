"""Whether a generation is stale: what came since its training, and the rules of ``[train.stale]``.

What came since is counted from the place in the log where the newest generation was trained. The
newest generation counts even where a rollback has put an earlier one in force: else a timer would
make the one that people rolled back from once more. One that was never in force, as its training
was killed before, does not count.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from serendip.data.store.store import ItemCounts
from serendip.engine.artefacts.generations import (
    EVENT_SEQ,
    ITEM_VERSION,
    REMOVALS,
    in_force_since,
    open_in_force,
    open_newest,
)
from serendip.engine.artefacts.training_record import TrainingRecord
from serendip.engine.config.settings import StalenessConfig
from serendip.engine.workspace import Workspace
from serendip.errors import NotTrainedError
from serendip.runtime.budget import parse_duration
from serendip.runtime.versions import Version


@dataclass(frozen=True, slots=True)
class GenerationAge:
    """What came since a training, and whether it makes the generation stale.

    Args:
        generation: name of the newest one; empty = there is none.
        age_s: seconds since it was made.
        events: number of events since, without ignored actions; None = events were imported again
            or erased.
        items: what happened to items since.
        settings: keys of learned settings that are others now.
        reasons: why it is stale, as sentences; empty = it is not.
        wait_until: Unix seconds before which no training is tried again; 0 = at once.
    """

    generation: str = ""
    age_s: float = 0.0
    events: int | None = 0
    items: ItemCounts = field(default_factory=ItemCounts)
    settings: Sequence[str] = ()
    reasons: Sequence[str] = ()
    wait_until: float = 0.0

    @property
    def is_stale(self) -> bool:
        """True if a rule says so."""
        return bool(self.reasons)

    def is_due(self, now: float) -> bool:
        """True if it is stale and no failure is too recent."""
        return self.is_stale and now >= self.wait_until


def measure_age(workspace: Workspace, now: float | None = None) -> GenerationAge:
    """Count what came since the newest generation and apply the rules, by ``now``, None = the
    clock.

    Raises:
        StorageError: there is no database.
    """
    moment = time.time() if now is None else now
    config = workspace.settings.train.stale
    record = TrainingRecord.read(workspace.training)
    wait_until = 0.0 if record is None else record.next_try(parse_duration(config.retry))
    newest = _open_newest(workspace)
    if newest is None:
        return GenerationAge(reasons=("no generation is published",), wait_until=wait_until)
    learned = workspace.settings.learned_from()
    settings = compare_settings(newest.manifest["settings"], learned, learned)
    with workspace.open_store() as store:
        items = store.count_item_changes(int(newest.manifest[ITEM_VERSION]))
        position = store.log.position()
        seq = int(newest.manifest[EVENT_SEQ])
        is_same_log = position.removals == int(newest.manifest[REMOVALS])
        ignored = workspace.settings.actions.ignore
        events = store.log.count_after(seq, ignored) if is_same_log else None
    age = max(0.0, moment - _created(newest))
    found = GenerationAge(newest.name, age, events, items, settings)
    reasons = tuple(_reasons(found, newest.manifest["counts"], config))
    return replace(found, reasons=reasons, wait_until=wait_until)


def _open_newest(workspace: Workspace) -> Version | None:
    """The newest generation, unless it is complete since the pointer was set last: then its
    training was killed before it came into force.
    """
    newest = open_newest(workspace.generations)
    try:
        since = in_force_since(workspace.generations)
    except NotTrainedError:
        return None
    if newest is None or _created(newest) <= since:
        return newest
    return open_in_force(workspace.generations, verify=False)


def _created(version: Version) -> float:
    return datetime.fromisoformat(version.manifest["created"]).timestamp()


def compare_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], tables: Iterable[str]
) -> tuple[str, ...]:
    """Keys, such as `models.retriever.epochs`, that differ between tables of settings."""
    old = dict(_flatten({name: before.get(name) for name in tables}))
    new = dict(_flatten({name: now.get(name) for name in tables}))
    return tuple(key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key))


def _flatten(tables: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in tables.items():
        key = f"{prefix}{name}"
        flat += _flatten(value, f"{key}.") if isinstance(value, Mapping) else [(key, value)]
    return flat


def _reasons(age: GenerationAge, counts: Mapping[str, int], config: StalenessConfig) -> list[str]:
    reasons = [f"the setting {key} has changed" for key in age.settings[:1]]
    if len(age.settings) > 1:
        reasons = [f"{len(age.settings)} settings have changed, {age.settings[0]} first"]
    if age.events is None:
        return [*reasons, "events were imported again or erased"]
    is_anything_new = age.events > 0 or age.items.total > 0
    if config.max_age and is_anything_new and age.age_s >= parse_duration(config.max_age):
        reasons.append(f"it is {describe_seconds(age.age_s)} old")
    for name, new in (("events", age.events), ("items", age.items.new)):
        share = new / max(1, counts[name])
        if config.new_share and share >= config.new_share:
            reasons.append(f"{new:,} new {name}, {share:.0%} of those it learned from")
    return reasons


def describe_seconds(seconds: float) -> str:
    """Format a time for people: ``3 days``, ``5 hours``, ``12 minutes``."""
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "less than a minute"
