"""Whether a generation is stale: what came since its training, and the rules of ``[train.stale]``.

What came since is counted from the place in the log where the newest generation was trained: the
tail of the log, at most ``MOST_EVENTS`` of it for the drift, never the whole log. The newest
generation counts even where a rollback has put an earlier one in force: else a timer would
make the one that people rolled back from once more.

**Drift of item popularity** is measured by the population stability index (PSI).
The items are put into ten groups of equal popularity: each has a tenth of the interactions that
were known at a moment, the most popular items first. Items without interactions are a group of
their own. The *popularity profile* of later interactions is their share in each group. Two profiles
are compared: that of the newest interactions of a training, as they looked from the ones before
them, and that of the interactions since, as they look from the whole training. Without drift they
are alike, also where most interactions are with new items.

The index and its usual bounds, .1 and .25, are those of N. Siddiqi, Credit Risk Scorecards (2006).

Shapes: N items, G groups.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import EventLog
from serendip.data.events.event import ActionRules, EventColumns
from serendip.data.events.feedback import Feedback
from serendip.data.store.store import ItemCounts, Store
from serendip.data.vocabulary import Vocabulary
from serendip.engine.artefacts.generations import open_newest
from serendip.engine.artefacts.training_record import TrainingRecord
from serendip.engine.config.settings import Settings, StalenessConfig
from serendip.engine.state import open_counts
from serendip.engine.workspace import Workspace
from serendip.runtime.budget import parse_duration
from serendip.runtime.versions import Version

MOST_EVENTS = 100_000
"""Newest events that the drift is measured on."""

LEARNED_TABLES = (
    *("actions", "repeats", "content", "semantic_ids", "models", "unified", "ranker"),
    *("search", "queries", "context", "quality"),
)
"""Tables of settings that a generation holds; the others are read by the service."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that differs between two generations, or between one and the file.

    Args:
        key: such as ``models.retriever.epochs``.
        before: its value; None = it was not set, or did not exist.
        now: its value; None = it is not set, or does not exist any more.
    """

    key: str
    before: Any
    now: Any


@dataclass(frozen=True, slots=True)
class PopularityDrift:
    """How far the interactions since a training are from its newest ones.

    Args:
        index: population stability index.
        interactions: number that it was measured on.
        unknown_share: share of them with items that had no interactions at the training.
        usual_share: the same share among the newest interactions of the training.
    """

    index: float
    interactions: int
    unknown_share: float
    usual_share: float


@dataclass(frozen=True, slots=True)
class GenerationAge:
    """What came since a training, and whether it makes the generation stale.

    Args:
        generation: name of the newest one; empty = there is none.
        age_s: seconds since it was made.
        events: number of events since, without ignored actions; None = events were imported again
            or erased.
        items: what happened to items since.
        drift: None = too few interactions, or events were imported again.
        settings: learned settings that are others now.
        reasons: why it is stale, as sentences; empty = it is not.
        wait_until: Unix seconds before which no training is tried again; 0 = at once.
    """

    generation: str = ""
    age_s: float = 0.0
    events: int | None = 0
    items: ItemCounts = field(default_factory=ItemCounts)
    drift: PopularityDrift | None = None
    settings: Sequence[SettingChange] = ()
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
    """Count what came since the newest generation and apply the rules.

    Args:
        workspace: with a database.
        now: Unix seconds; None = the clock.

    Raises:
        StorageError: there is no database.
    """
    moment = time.time() if now is None else now
    config = workspace.settings.train.stale
    wait_until = _next_try(workspace, config)
    newest = open_newest(workspace.generations)
    if newest is None:
        return GenerationAge(reasons=("no generation is published",), wait_until=wait_until)
    created = datetime.fromisoformat(newest.manifest["created"]).timestamp()
    settings = compare_settings(
        newest.manifest["settings"], workspace.settings.learned_from(), LEARNED_TABLES
    )
    with closing(workspace.open_store()) as store:
        items = store.count_item_changes(int(newest.manifest["item_version"]))
        mark = store.log.mark()
        seq = int(newest.manifest["event_seq"])
        is_same_log = mark.removals == int(newest.manifest["event_removals"])
        ignored = workspace.settings.actions.ignore
        events = store.log.count_after(seq, ignored) if is_same_log else None
        drift = _measure_drift(newest, store, workspace.settings) if events else None
    age = max(0.0, moment - created)
    found = GenerationAge(newest.name, age, events, items, drift, settings)
    reasons = tuple(_reasons(found, newest.manifest["counts"], config))
    return replace(found, reasons=reasons, wait_until=wait_until)


def _next_try(workspace: Workspace, config: StalenessConfig) -> float:
    record = TrainingRecord.read(workspace.training)
    return 0.0 if record is None else record.next_try(parse_duration(config.retry))


def compare_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], tables: Sequence[str]
) -> tuple[SettingChange, ...]:
    """Compare tables of settings, key by key."""
    old = dict(_flatten({name: before.get(name) for name in tables}))
    new = dict(_flatten({name: now.get(name) for name in tables}))
    return tuple(
        SettingChange(key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )


def _flatten(tables: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted key, value) of nested tables."""
    flat: list[tuple[str, Any]] = []
    for name, value in tables.items():
        key = f"{prefix}{name}"
        flat += _flatten(value, f"{key}.") if isinstance(value, Mapping) else [(key, value)]
    return flat


def _measure_drift(newest: Version, store: Store, settings: Settings) -> PopularityDrift | None:
    """Compare the newest interactions since a training with those before it."""
    usual = newest.manifest.get("popularity_profile")
    if usual is None:
        return None
    first = max(int(newest.manifest["event_seq"]), store.log.mark().seq - MOST_EVENTS)
    _, events, _ = store.log.after(first, MOST_EVENTS)
    vocabulary, counts = open_counts(newest.folder)
    item_nums = interacted_items(events, settings.actions, vocabulary)
    if len(item_nums) < MIN_INTERACTIONS:
        return None
    known = np.append(np.asarray(counts), 0)[item_nums] > 0
    index = stability_index(usual, popularity_profile(item_nums, counts))
    return PopularityDrift(index, len(item_nums), float(1 - known.mean()), float(usual[-1]))


def _reasons(age: GenerationAge, counts: Mapping[str, int], config: StalenessConfig) -> list[str]:
    """Sentences of the rules that apply."""
    reasons = [f"the setting {change.key} has changed" for change in age.settings[:1]]
    if len(age.settings) > 1:
        reasons = [f"{len(age.settings)} settings have changed, {age.settings[0].key} first"]
    if age.events is None:
        return [*reasons, "events were imported again or erased"]
    is_anything_new = age.events > 0 or age.items.total > 0
    if config.max_age and is_anything_new and age.age_s >= parse_duration(config.max_age):
        reasons.append(f"it is {describe_seconds(age.age_s)} old")
    if config.new_events and age.events >= config.new_events:
        reasons.append(f"{age.events:,} new events")
    for name, new in (("events", age.events), ("items", age.items.new)):
        share = new / max(1, counts[name])
        if config.new_share and share >= config.new_share:
            reasons.append(f"{new:,} new {name}, {share:.0%} of those it learned from")
    if config.drift and age.drift is not None and age.drift.index >= config.drift:
        reasons.append(f"drift of popularity, index {age.drift.index:.2f}")
    return reasons


def describe_seconds(seconds: float) -> str:
    """Format a time for people: ``3 days``, ``5 hours``, ``12 minutes``."""
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "less than a minute"


MIN_INTERACTIONS = 500
"""Interactions of a profile: with fewer, chance alone moves the index."""

_TENTHS = 10
_NEWEST_SHARE = 0.1
_PRIOR = 0.5
"""Pseudo-count of each group (Jeffreys), so that an empty one has a logarithm."""


def popularity_groups(counts: IntArray) -> IntArray:
    """Group (N,) of each item: 0 = the most popular ones, 10 = items without interactions.

    Args:
        counts: (N,) interactions per item.
    """
    groups = np.full(len(counts), _TENTHS, np.int32)
    order = np.argsort(-counts, kind="stable")
    order = order[: int((counts > 0).sum())]
    before = np.cumsum(counts[order], dtype=np.int64) - counts[order]
    groups[order] = _TENTHS * before // max(1, int(counts.sum()))
    return groups


def popularity_profile(item_nums: IntArray, counts: IntArray) -> FloatArray:
    """Share (G,) of interactions in each group; none is 0.

    Args:
        item_nums: items of the interactions; -1 = an item that is not in ``counts``.
        counts: (N,) earlier interactions per item.
    """
    groups = np.append(popularity_groups(counts), _TENTHS)  # the last one for -1
    found = np.bincount(groups[item_nums], minlength=_TENTHS + 1) + _PRIOR
    profile: FloatArray = (found / found.sum()).astype(np.float64)
    return profile


def newest_profile(events: EventLog, num_items: int) -> list[float] | None:
    """Profile of the newest tenth of the interactions; None if there are too few.

    Args:
        events: interactions, oldest first.
        num_items: N.
    """
    if len(events) < 2 * MIN_INTERACTIONS:
        return None
    newest = max(MIN_INTERACTIONS, round(_NEWEST_SHARE * len(events)))
    counts = np.bincount(events.items[:-newest], minlength=num_items).astype(np.int32)
    profile = popularity_profile(events.items[-newest:], counts)
    return [round(float(share), 6) for share in profile]


def stability_index(expected: Sequence[float] | FloatArray, found: FloatArray) -> float:
    """Population stability index of two profiles: 0 = equal, symmetric."""
    before, after = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    return float(((after - before) * np.log(after / before)).sum())


def interacted_items(events: EventColumns, rules: ActionRules, items: Vocabulary) -> IntArray:
    """Items of the interactions among events; -1 = an item that is not in ``items``."""
    rows = np.flatnonzero(Feedback.of(events, rules).interest).tolist()
    return items.numbers(events.item_ids[row] for row in rows)
