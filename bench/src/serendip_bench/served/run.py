"""``serendip bench served``: the quality of the product with its defaults, asked as a user asks.

A public sequence set becomes two files, as a shop would export them. ``serendip init`` and
``serendip train`` make a workspace of them, with no settings, in processes of their own; the last
two items of each user are not in the files. Then the service runs, the last but one item of a user
is posted as an event, and the home surface is asked for ten items. The last item is the target.

The service runs at the time of the posted events: its clock stands still, so popularity and trends
stay those of the training. Every user is asked as if nobody else had chosen anything since, and the
answer depends neither on the sample nor on the day, the load or the order in which it was asked.

The sets have no times. The newest event of every user is put on the same day, and each one before
it a day earlier, at a random time of the day: what a shop with these users would have logged, if
all were active up to now.

With ``--cold-items`` a share of the items is in neither file. They are posted to the running
service before anybody is asked: new items, which nobody has chosen yet.

Shapes: U users.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.errors import ConfigError
from serendip.runtime.atomic_files import write_json
from serendip.runtime.progress import Progress
from serendip_bench.served.baselines import rank_baselines
from serendip_bench.served.client import ask_service
from serendip_bench.served.data import (
    choose_items,
    compute_digest,
    order_items,
    read_items,
    read_users,
    sample_users,
)
from serendip_bench.served.figures import COLD_AT_MOST, compare, slice_users, summarise
from serendip_bench.served.workspace import make_workspace
from serendip_bench.work_folder import open_work_folder

VERSION = 2
"""Increases whenever the same engine would get other numbers."""

PROTOCOL = (
    "Leave the last two out. A workspace is made of all other events by `serendip init` and "
    "`serendip train` without settings. The last but one item of a user is posted to the running "
    "service, which is then asked for ten items of home; the last item is the target. The clock of "
    "the service stands still at the time of the posted events, so counts (popularity, trends) "
    "stay those of the training and no answer depends on users who were asked before. Items of "
    "the history are left out by the service. Users with fewer than three items, or with the "
    "target in their history, are not asked. A target outside the ten counts 0. "
    "order-safe: users whose last item comes before the last but one in the order of the "
    "catalogue's own ids (their ASINs, else item ids): files that keep the events of a day in that "
    f"order cannot tell the model the target there. cold users: at most {COLD_AT_MOST} known "
    "events. tail items: targets outside the 20 % of the training items with most events. cold "
    "items: targets without an event in training. warm items: all other targets. posted items: "
    "targets that were left out of both files, with all their events, and posted before the first "
    "user was asked; `by_score` has the figures of the same lists in the order of their scores, "
    "which is the order without exploration, and `exploration` the paired differences to them. "
    "baselines: each model of the generation alone, in process, on the same histories; `engine` "
    "has the paired differences of the engine to it."
)


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
    with open_work_folder(bench.file) as work:
        left_out = choose_items(bench.data, bench.cold_items, bench.seed)
        everybody, counts = read_users(bench.data, left_out)
        costs = make_workspace(bench.data, work, bench.seed, left_out)
        asked = sample_users(everybody, bench.users, bench.seed)
        posted = read_items(bench.data, left_out)
        shown, by_score, serving = ask_service(work / "workspace", asked, posted, progress)
        alone = rank_baselines(work / "workspace", asked, progress)
        slices = slice_users(asked, counts, order_items(bench.data))
        document = {
            "name": "served",
            "version": VERSION,
            "protocol": PROTOCOL,
            "dataset": {"name": bench.data.resolve().name, "digest": compute_digest(bench.data)},
            "seed": bench.seed,
            "users": {"asked": len(asked), "possible": len(everybody)},
            "slices": summarise(shown, slices),
            "costs": {**costs, "serve": serving},
        }
        if posted:
            slices["posted items"] = np.isin(asked.targets, sorted(left_out))
            document |= {
                "posted_items": len(posted),
                "slices": summarise(shown, slices),
                "by_score": summarise(by_score, slices),
                "exploration": compare(shown, by_score, slices),
            }
        document["baselines"] = {
            name: {"slices": summarise(ranks, slices), "engine": compare(shown, ranks, slices)}
            for name, ranks in alone.items()
        }
        write_json(bench.file, document)
    return document
