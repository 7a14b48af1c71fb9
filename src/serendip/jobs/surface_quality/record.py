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
from numpy.typing import NDArray

from serendip.data.dataset import Dataset
from serendip.data.splits import Split, next_choices
from serendip.engine.state import EngineState
from serendip.engine.state_parts import RANKER
from serendip.evaluate.comparison import MIN_USERS
from serendip.evaluate.decision import Decision, choose
from serendip.evaluate.intervals import per_user
from serendip.evaluate.runs import Values
from serendip.evaluate.surface_quality import ALL, RANKING, value_lists
from serendip.jobs.context import JobContext
from serendip.jobs.surface_quality.answers import answer_engine, sells
from serendip.jobs.surface_quality.kinds import find_slices
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder
from serendip.jobs.surface_quality.requests import SurfaceRequests
from serendip.jobs.surface_quality.sample import Keys, hash_key

RECORD_FILE = f"{RANKER}/quality.npz"
"""File in a generation."""

METRIC = RANKING[0].label

LISTS = "what people see"
"""Stands for a surface whose slices are measures of lists, each of requests of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedSurface:
    """Answers of one surface.

    Args:
        keys: (T,) uint64 of the requests.
        users: (T,) uint64 hashes of their users.
        slices: S names, ``all`` first.
        values: (T, S) float64 nDCG@10 of each request in each slice; NaN where it is not in it.
    """

    keys: Keys
    users: Keys
    slices: NDArray[np.str_]
    values: Values


QualityRecord: TypeAlias = Mapping[str, RecordedSurface]
"""Surface -> answers; surfaces that nothing could be asked are left out."""

_PARTS = [part.name for part in fields(RecordedSurface)]


def save_record(record: QualityRecord, path: Path) -> None:
    """Write a record into a file."""
    arrays = {
        f"{name}/{part}": getattr(surface, part)
        for name, surface in record.items()
        for part in _PARTS
    }
    np.savez(path, allow_pickle=False, **arrays)


def read_record(path: Path) -> QualityRecord | None:
    """Read what ``save_record`` wrote; None without the file, or if it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = dict.fromkeys(key.rpartition("/")[0] for key in arrays.files)
            return {
                name: RecordedSurface(*(arrays[f"{name}/{part}"] for part in _PARTS))
                for name in names
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
    recorded, countries = {}, dataset.countries_by_user()
    with context.clock.stage("gate requests"):
        choices = next_choices(dataset, split, state.repeats)
        builder = SurfaceRequestBuilder.of(split, choices, context, state, _REQUESTS)
        for name, surface in context.settings.all_surfaces().items():
            if surface.sponsored is not None and not sells(surface, state):
                continue  # the same list as without places for sale
            if surface.likeness:
                continue  # what is chosen next says nothing about it
            requests = builder.build(name)
            if len(requests):
                lists = answer_engine(requests.queries, surface, state)
                recorded[name] = _record(requests, lists, split, countries)
    return recorded


def _record(
    requests: SurfaceRequests,
    lists: NDArray[np.int32],
    split: Split,
    countries: Mapping[str, str],
) -> RecordedSurface:
    relevant = requests.relevant
    columns = {ALL: value_lists(lists, relevant)[:, 0]}
    for name, part in find_slices(split, requests.queries, relevant, countries).items():
        columns[name] = np.full(len(requests), np.nan)
        columns[name][part.rows] = value_lists(lists[part.rows], part.relevant)[:, 0]
    users = np.array([hash_key(user) for user in requests.users.tolist()], np.uint64)
    names = np.array(list(columns), np.str_)
    return RecordedSurface(requests.keys, users, names, np.column_stack(list(columns.values())))


def compare_records(after: QualityRecord, before: QualityRecord, margin: float) -> list[Decision]:
    """Compare all slices of all surfaces that both have with at least 50 common users: whether each
    may be what it is now.

    ``margin`` is the largest tolerated loss, as a share of the earlier value.
    """
    pairs = [
        (slice_name if name == LISTS else f"{name}, {slice_name}: {METRIC}", users)
        for name in after
        if name in before
        for slice_name, users in _pair(after[name], before[name]).items()
        if len(users) >= MIN_USERS
    ]
    return [_judge(name, users, margin, len(pairs)) for name, users in pairs]


def _pair(after: RecordedSurface, before: RecordedSurface) -> dict[str, Values]:
    """Slice -> means (U, 2) of the later and the earlier training over the common requests."""
    _, new, old = np.intersect1d(after.keys, before.keys, return_indices=True)
    earlier = before.slices.tolist()
    users = {}
    for column, name in enumerate(after.slices.tolist()):
        if name not in earlier:
            continue
        both = np.column_stack(
            [after.values[new, column], before.values[old, earlier.index(name)]]
        )  # (T, 2)
        rows = ~np.isnan(both).any(axis=1)
        groups = np.unique(after.users[new][rows], return_inverse=True)[1].reshape(-1)
        users[name] = per_user(both[rows], groups)
    return users


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
