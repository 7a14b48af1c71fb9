"""``serendip bench served``: the quality of the product with its defaults, asked as a user asks.

A public sequence set becomes two files, as a shop would export them. ``serendip init`` and
``serendip train`` make a workspace of them, with no settings, in processes of their own; the last
two items of each user are not in the files. Then the service runs, the last but one item of a user
is posted as an event, and the home surface is asked for ten items. The last item is the target; one
outside the ten counts 0.

The service runs at the time of the posted events: its clock stands still, so popularity and trends
stay those of the training. Every user is asked as if nobody else had chosen anything since, and the
answer depends neither on the sample nor on the day, the load or the order in which it was asked.

With ``--cold-items`` a share of the items is in neither file. They are posted to the running
service before anybody is asked: new items, which nobody has chosen yet.

Shapes: U users.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.splits import tail_border
from serendip.errors import ConfigError
from serendip.evaluate.intervals import DIFFERENCE_RANGE, UNIT_RANGE, Support, estimates
from serendip.evaluate.metrics import NDCG, Recall
from serendip.evaluate.runs import Values
from serendip.runtime.atomic_files import write_json
from serendip.runtime.progress import Progress
from serendip_bench.results import open_work_folder
from serendip_bench.served.data import ServedData, ServedUser
from serendip_bench.served.workspace import ask_service, make_workspace, rank_alone

VERSION = 3
"""Increases whenever the same engine would get other numbers."""

LABELS = ("R@5", "N@5", "R@10", "N@10")
_METRICS = (Recall(5), NDCG(5), Recall(10), NDCG(10))

COLD_AT_MOST = 4
"""Known events of a cold user, the posted one included: the smallest number in a 5-core set."""

ENGINE, BY_SCORE = "engine", "without exploration"


@dataclass(frozen=True, slots=True)
class ServedBench:
    """Settings of a run.

    Args:
        data: folder with ``sequences.txt`` and ``items.jsonl``.
        file: the results; the workspace is in ``<file>.work``.
        users: number of users to ask, a random sample; 0 = all.
        seed: of the training, the sample, the times of the day and the items that are left out.
        cold_items: share of the items that are left out of the files and posted to the service.
    """

    data: Path
    file: Path
    users: int = 4_000
    seed: int = 0
    cold_items: float = 0.0


def run_served(bench: ServedBench, progress: Progress) -> dict[str, Any]:
    """Make the workspace unless it is there, ask the service, and write the results.

    Raises:
        ConfigError: the results cannot be written, ``users`` is negative, or ``cold_items`` is not
            in [0, 1).
        DataError: the data are missing or wrong, or a command of the product failed.
        StorageError: another process uses the same results file.
    """
    if bench.users < 0:
        raise ConfigError(f"--users {bench.users} is negative.", "Use 0 for all users.")
    if not 0 <= bench.cold_items < 1:
        raise ConfigError(
            f"--cold-items {bench.cold_items} is no share of the items.",
            "Use a number from 0 up to, but not including, 1.",
        )
    data = ServedData(bench.data, bench.cold_items, bench.seed)
    everybody = data.list_users()
    with open_work_folder(bench.file) as work:
        costs, workspace = make_workspace(data, work), work / "workspace"
        users = _sample(everybody, bench.users, bench.seed)
        posted = data.list_items(data.left_out)
        shown, by_score, serving = ask_service(workspace, users, posted, progress)
        others = {BY_SCORE: by_score} if posted else {}
        others |= rank_alone(workspace, users, progress)
        slices = slice_users(users, data.count_events(), data.order_items(), data.left_out)
        document = {
            "name": "served",
            "version": VERSION,
            "protocol": "docs/concepts/benchmark-protocol.md",
            "dataset": {"name": bench.data.resolve().name, "digest": data.digest()},
            "seed": bench.seed,
            "users": {"asked": len(users), "possible": len(everybody)},
            "posted_items": len(posted),
            "rows": [
                {"system": name, **row}
                for name, ranks in {ENGINE: shown, **others}.items()
                for row in summarise(values_of_ranks(ranks), slices)
            ],
            "comparisons": [
                {"baseline": name, **row}
                for name, ranks in others.items()
                for row in summarise(
                    values_of_ranks(shown) - values_of_ranks(ranks), slices, DIFFERENCE_RANGE
                )
            ],
            "costs": {**costs, "serve": serving},
        }
        write_json(bench.file, document)
    return document


def _sample(users: Sequence[ServedUser], count: int, seed: int) -> list[ServedUser]:
    """A random part of the users, in their order; all if ``count`` is 0 or large."""
    chosen = np.random.default_rng(seed).permutation(len(users))[: count or len(users)]
    return [users[row] for row in np.sort(chosen).tolist()]


def slice_users(
    users: Sequence[ServedUser],
    counts: Mapping[str, int],
    order: Mapping[str, int],
    left_out: Collection[str] = (),
) -> dict[str, BoolArray]:
    """Slice -> (U,) bool.

    ``order-safe``: users whose last item comes before the last but one in the order of the
    catalogue's own ids (ASINs, else item ids): files that keep the events of a day in that order
    cannot tell the model the target there. ``tail items``: targets outside the 20 % of the training
    items with most events. ``cold items``: targets without an event in training. ``posted items``:
    targets that were posted before the first user was asked.

    Args:
        users: who were asked.
        counts: item -> events in training.
        order: item -> place in the order of the ids.
        left_out: items that were posted.
    """
    border = tail_border(np.array([count for count in counts.values() if count], np.int32))
    popularity = np.array([counts[user.target] for user in users])
    is_safe = [order[user.target] < order[user.posted] for user in users]
    slices = {
        "all": np.ones(len(users), np.bool_),
        "order-safe": np.array(is_safe, np.bool_),
        "cold users": np.array([len(user.history) < COLD_AT_MOST for user in users], np.bool_),
        "tail items": popularity <= border,
        "cold items": popularity == 0,
        "warm items": popularity > 0,
    }
    if left_out:
        slices["posted items"] = np.array([user.target in left_out for user in users], np.bool_)
    return slices


def values_of_ranks(ranks: Values) -> Values:
    """(U, 4) the metrics of ``LABELS`` of ranks (U,)."""
    return np.stack([metric.of_ranks(ranks) for metric in _METRICS], axis=1)


def summarise(
    values: Values, slices: Mapping[str, BoolArray], support: Support = UNIT_RANGE
) -> Iterator[dict[str, Any]]:
    """A row per slice: number of users, means with intervals, standard error of N@10.

    Args:
        values: (U, 4) metrics, or differences of them.
        slices: (U,) each.
        support: lowest and highest possible value.
    """
    for name, mask in slices.items():
        part = values[mask]
        of_label = dict(zip(LABELS, estimates(part, support=support), strict=True))
        error = float(part[:, -1].std(ddof=1)) / len(part) ** 0.5 if len(part) > 1 else None
        yield {
            "slice": name,
            "users": len(part),
            **{label: estimate.value for label, estimate in of_label.items()},
            "ci95": {label: [one.low, one.high] for label, one in of_label.items()},
            "se": error,
        }
