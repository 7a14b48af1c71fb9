"""The quality of a training, request by request, and whether it is worse than an earlier one.

The ranker of a training learns from models that were fitted on the older part of the data. These
models, with that ranker, have seen no event of the newer part as evidence of what comes next: they
answer its requests as the generation will answer those of tomorrow. The record keeps the nDCG@10 of
each of these answers with the key of its request. As requests are sampled by hashes, two trainings
have asked mostly the same ones, and neither had learned the answers.

Every surface and every slice of it is compared, by the paired differences of nDCG@10 per user. With
b the earlier mean and d the mean difference, a slice is **worse** if

- the interval of d lies below 0, and
- d is below -margin x b,

where the intervals hold at 95 % for all m comparisons together (Bonferroni: each at 1 - .05 / m),
because among fifty comparisons some are below 0 by chance. Slices of fewer than 50 users are not
compared: their intervals would say nothing.

Shapes: T requests, S slices, U users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile

import numpy as np

from serendip.data.dataset import Dataset
from serendip.data.splits import Split, next_choices
from serendip.engine.state import EngineState
from serendip.engine.state_parts import RANKER
from serendip.evaluate.comparison import MIN_USERS
from serendip.evaluate.decision import Decision, choose
from serendip.evaluate.intervals import per_user
from serendip.evaluate.runs import Keys, Values
from serendip.evaluate.surface_quality import RANKING, value_lists
from serendip.jobs.context import JobContext
from serendip.jobs.surface_quality.answers import ENGINE, ask, sells
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder
from serendip.jobs.surface_quality.sample import hash_key

RECORD_FILE = f"{RANKER}/quality.npz"
"""File in a generation."""

METRIC = RANKING[0].label


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Values (T,) of a measure, of the requests with these ``keys`` and hashed ``users``."""

    keys: Keys
    users: Keys
    values: Values


QualityRecord: TypeAlias = Mapping[str, Column]
"""Measure, of a slice of a surface or of lists -> its values; the more the better."""

_PARTS = [part.name for part in fields(Column)]


def save_record(record: QualityRecord, path: Path) -> None:
    """Write a record into a file."""
    arrays = {
        f"{row}/{part}": getattr(column, part)
        for row, column in enumerate(record.values())
        for part in _PARTS
    }
    np.savez(path, allow_pickle=False, names=np.array(list(record), np.str_), **arrays)


def read_record(path: Path) -> QualityRecord | None:
    """Read what ``save_record`` wrote; None without the file, or if it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {
                name: Column(*(arrays[f"{row}/{part}"] for part in _PARTS))
                for row, name in enumerate(arrays["names"].tolist())
            }
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


_REQUESTS = 300
"""Requests of each surface that a training is measured with."""


def record_quality(
    context: JobContext, state: EngineState, split: Split, dataset: Dataset
) -> QualityRecord:
    """Ask every surface of a state about the newer part of the data.

    The state was fitted on the older part, its ranker included; its items are numbered as in the
    split. The dataset has both parts.
    """
    record, countries = dict[str, Column](), dataset.countries_by_user()
    with context.clock.stage("gate requests"):
        choices = next_choices(dataset, split, state.repeats)
        builder = SurfaceRequestBuilder.of(split, choices, context, state, _REQUESTS)
        for name, surface in context.settings.all_surfaces().items():
            if surface.sponsored is not None and not sells(surface, state):
                continue  # the same list as without places for sale
            if surface.likeness:
                continue  # what is chosen next says nothing about it
            run = ask(builder.build(name), builder, state, countries, baselines=False)
            users = np.array([hash_key(user) for user in run.users.tolist()], np.uint64)
            for part, relevant in run.parts.items():
                values = value_lists(run.lists[ENGINE], relevant)[:, 0]
                known = ~np.isnan(values)
                column = Column(run.keys[known], users[known], values[known])
                record[f"{name}, {part}: {METRIC}"] = column
    return record


def compare_records(after: QualityRecord, before: QualityRecord, margin: float) -> list[Decision]:
    """Compare all measures that both have with at least 50 common users: whether each may be what
    it is now.

    ``margin`` is the largest tolerated loss, as a share of the earlier value.
    """
    pairs = {name: _pair(column, before[name]) for name, column in after.items() if name in before}
    enough = {name: users for name, users in pairs.items() if len(users) >= MIN_USERS}
    return [_judge(name, users, margin, len(enough)) for name, users in enough.items()]


def _pair(after: Column, before: Column) -> Values:
    """Means (U, 2) of the later and the earlier training over the common requests."""
    _, new, old = np.intersect1d(after.keys, before.keys, return_indices=True)
    return per_user(np.column_stack([after.values[new], before.values[old]]), after.users[new])


def _judge(name: str, users: Values, margin: float, tests: int) -> Decision:
    found = choose(name, users[:, 1], users[:, 0], tests=tests)
    assert found.high is not None and found.gain is not None and found.without is not None
    return replace(found, on=not (found.high < 0.0 and found.gain < -margin * found.without))


def describe_change(change: Decision) -> str:
    """Name, both values, the difference with its interval, and how many users or lists."""
    before, gain = change.without or 0.0, change.gain or 0.0
    return (
        f"{change.name} {before:.4f} -> {before + gain:.4f} ({gain:+.4f}, {change.low or 0:+.4f} "
        f"to {change.high or 0:+.4f}, {change.n} "
        f"{'users' if change.name.endswith(METRIC) else 'lists'})"
    )


def describe_worst(changes: Sequence[Decision]) -> str:
    """The slices that are worse, those of the largest relative loss first; else a summary."""

    def relative(change: Decision) -> float:
        return (change.gain or 0.0) / max(change.without or 0.0, 1e-9)

    if not changes:
        return f"nothing to compare: no surface has {MIN_USERS} users whom both were asked about"
    worse = sorted((change for change in changes if not change.on), key=relative)
    if worse:
        return "; ".join(map(describe_change, worse))
    least = describe_change(min(changes, key=relative))
    return f"{len(changes)} slices compared; the largest loss is {least}"
