"""``serendip bench served``: the quality of the product with its defaults, asked as a user asks.

A public sequence set becomes two files, as a shop would export them. ``serendip init`` and
``serendip train`` make a workspace of them, with no settings, in processes of their own; the last
two items of each user are not in the files. Then the service runs, the last but one item of a user
is posted as an event, and the home surface is asked for ten items. The last item is the target.

The sets have no times. The newest event of every user is put on the same day, and each one before
it a day earlier, at a random time of the day: what a shop with these users would have logged, if
all were active up to now.

With ``--cold-items`` a share of the items is in neither file. They are posted to the running
service before anybody is asked: new items, which nobody has chosen yet.

Shapes: U users.
"""

from __future__ import annotations

import csv
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray
from serendip.data.splits import tail_border
from serendip.errors import ArtefactError, ConfigError, DataError
from serendip.evaluate.full_ranking import LABELS, values_of_ranks
from serendip.evaluate.intervals import estimates
from serendip.evaluate.runs import Values
from serendip.runtime.atomic_files import hash_files, write_json
from serendip.runtime.progress import Progress
from serendip_bench.datasets.sequences import (
    ITEMS_FILE,
    MIN_EVENTS,
    SEQUENCES_FILE,
    read_sequences,
)
from serendip_bench.scripts.latency import run_service
from serendip_bench.work_folder import open_work_folder

VERSION = 1
"""Increases whenever the same engine would get other numbers."""

K = 10
NEWEST, DAY = 1_700_006_400, 86_400
"""Beginning of the day of the newest events in training, and length of a day, in seconds."""

COLD_AT_MOST = 4
"""Known events of a cold user, the posted one included: the smallest number in a 5-core set."""

PROTOCOL = (
    "Leave the last two out. A workspace is made of all other events by `serendip init` and "
    "`serendip train` without settings. The last but one item of a user is posted to the running "
    "service, which is then asked for ten items of home; the last item is the target. Items of the "
    "history are left out by the service. Users with fewer than three items, or with the target in "
    "their history, are not asked. A target outside the ten counts 0. "
    "order-safe: users whose last item comes before the last but one in the order of the "
    "catalogue's own ids (their ASINs, else item ids): files that keep the events of a day in that "
    f"order cannot tell the model the target there. cold users: at most {COLD_AT_MOST} known "
    "events. tail items: targets outside the 20 % of the training items with most events. cold "
    "items: targets without an event in training. warm items: all other targets. posted items: "
    "targets that were left out of both files, with all their events, and posted before the first "
    "user was asked; `by_score` has the figures of the same lists in the order of their scores, "
    "which is the order without exploration, and `exploration` the paired differences to them."
)

EXPLORED_TOO = 10
"""Further items that are asked for where items were posted: more than are explored, so that the
first ten by score are among them."""


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


@dataclass(frozen=True, slots=True, eq=False)
class ServedUsers:
    """Users that can be asked, and what they chose.

    Args:
        ids: U user ids.
        histories: U lists of item ids: those in training.
        posted: U last but one items.
        targets: U last items.
    """

    ids: Sequence[str]
    histories: Sequence[Sequence[str]]
    posted: Sequence[str]
    targets: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: NDArray[np.intp]) -> ServedUsers:
        """Select users."""
        chosen = rows.tolist()
        return ServedUsers(
            [self.ids[row] for row in chosen],
            [self.histories[row] for row in chosen],
            [self.posted[row] for row in chosen],
            [self.targets[row] for row in chosen],
        )


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """Cost of a process.

    Args:
        cpu_s: CPU seconds of it and its children.
        wall_s: seconds by the clock on the wall.
        peak_mb: largest resident memory.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float


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
        costs = make_workspace(bench, work, left_out)
        asked = sample_users(everybody, bench.users, bench.seed)
        posted = read_items(bench.data, left_out)
        shown, by_score, serving = ask_service(work / "workspace", asked, posted, progress)
        slices = slice_users(asked, counts, _order_of(bench.data))
        document = {
            "name": "served",
            "version": VERSION,
            "protocol": PROTOCOL,
            "dataset": {"name": bench.data.resolve().name, "digest": _digest(bench.data)},
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
        write_json(bench.file, document)
    return document


def choose_items(folder: Path, share: float, seed: int) -> frozenset[str]:
    """Ids of a random share of the items.

    Raises:
        DataError: see ``read_sequences``.
    """
    if not share:
        return frozenset()
    read_sequences(folder)  # all checks of the two files
    ids = list(_read_catalogue(folder))
    chosen = np.random.default_rng(seed).permutation(len(ids))[: round(share * len(ids))]
    return frozenset(ids[row] for row in chosen.tolist())


def read_users(folder: Path, left_out: Collection[str] = ()) -> tuple[ServedUsers, dict[str, int]]:
    """Users with three items or more whose target is new to them; training events per item.

    Args:
        folder: of the data.
        left_out: items without an event in training.

    Raises:
        DataError: see ``read_sequences``.
    """
    read_sequences(folder)  # all checks of the two files
    users, counts = [], dict.fromkeys(_read_catalogue(folder), 0)
    for user, items in _read_lines(folder):
        known = _training_items(items, left_out)
        for item in known:
            counts[item] += 1
        if len(items) >= MIN_EVENTS and items[-1] not in items[:-1]:
            users.append((user, known, items[-2], items[-1]))
    return ServedUsers(*map(list, zip(*users, strict=True))), counts


def sample_users(users: ServedUsers, count: int, seed: int) -> ServedUsers:
    """A random part of the users, in their order; all if ``count`` is 0 or large."""
    if count == 0 or count >= len(users):
        return users
    chosen = np.random.default_rng(seed).permutation(len(users))[:count]
    return users.rows(np.sort(chosen))


def slice_users(
    users: ServedUsers, counts: Mapping[str, int], order: Mapping[str, Any]
) -> dict[str, BoolArray]:
    """Slice -> (U,) bool; see ``PROTOCOL``."""
    border = tail_border(np.array([count for count in counts.values() if count], np.int32))
    popularity = np.array([counts[item] for item in users.targets])
    pairs = zip(users.posted, users.targets, strict=True)
    return {
        "all": np.ones(len(users), np.bool_),
        "order-safe": np.array([order[last] < order[before] for before, last in pairs], np.bool_),
        "cold users": np.array([len(past) < COLD_AT_MOST for past in users.histories], np.bool_),
        "tail items": popularity <= border,
        "cold items": popularity == 0,
        "warm items": popularity > 0,
    }


def summarise(ranks: Values, slices: Mapping[str, BoolArray]) -> dict[str, Any]:
    """Slice -> number of users, and mean, standard error and 95 % interval of each metric."""
    values = values_of_ranks(ranks)  # (U, 4)
    summary: dict[str, Any] = {}
    for name, mask in slices.items():
        part = values[mask]
        errors = part.std(axis=0, ddof=1) / len(part) ** 0.5 if len(part) > 1 else [None] * 4
        summary[name] = {"users": len(part)} | {
            label: {**estimate.as_dict(), "se": None if error is None else float(error)}
            for label, estimate, error in zip(LABELS, estimates(part), errors, strict=True)
        }
    return summary


def compare(first: Values, second: Values, slices: Mapping[str, BoolArray]) -> dict[str, Any]:
    """Slice -> metric -> mean of the paired differences of two ranks per user, with interval."""
    differences = values_of_ranks(first) - values_of_ranks(second)  # (U, 4)
    return {
        name: {
            label: estimate.as_dict()
            for label, estimate in zip(
                LABELS, estimates(differences[mask], support=(-1.0, 1.0)), strict=True
            )
        }
        for name, mask in slices.items()
    }


def make_workspace(
    bench: ServedBench, work: Path, left_out: Collection[str] = ()
) -> dict[str, Any]:
    """Write the files, run ``init`` and ``train``; costs of both.

    A finished workspace of the same data, seed and items left out is used again.
    """
    done = work / "trained.json"
    digest = f"{VERSION} {_digest(bench.data)} {bench.seed} {len(left_out)}"
    if done.exists():
        kept: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        if kept["digest"] == digest:
            _restore(work)
            return dict(kept["costs"])
    shutil.rmtree(work / "workspace", ignore_errors=True)
    done.unlink(missing_ok=True)
    write_files(bench.data, work, bench.seed, left_out)
    workspace = work / "workspace"
    paths = ("--items", work / "items.jsonl", "--events", work / "events.csv")
    costs = {
        "init": asdict(run_command("init", *paths, "--workspace", workspace)),
        "train": asdict(run_command("train", "--workspace", workspace, "--seed", bench.seed)),
    }
    # The service writes into the workspace: every run asks a copy of what was trained.
    shutil.copytree(workspace, work / "trained")
    write_json(done, {"digest": digest, "costs": costs})
    return costs


def _restore(work: Path) -> None:
    """The workspace as it was after the training, without the events of an earlier run."""
    if not (work / "trained").is_dir():
        raise ArtefactError(f"{work} has no trained workspace.", f"Delete {work} and run again.")
    shutil.rmtree(work / "workspace", ignore_errors=True)
    shutil.copytree(work / "trained", work / "workspace")


def read_items(data: Path, wanted: Collection[str]) -> list[dict[str, str]]:
    """Id, title and category path of items, in the order of the catalogue."""
    items = []
    for item_id, row in _read_catalogue(data).items():
        if item_id not in wanted:
            continue
        paths = row.get("categories") or [[]]
        title = str(row.get("title") or row.get("textual_id") or "")
        path = " > ".join(map(str, paths[0]))
        items.append({"item_id": item_id, "title": title, "category": path})
    return items


def write_files(data: Path, folder: Path, seed: int, left_out: Collection[str] = ()) -> None:
    """items.jsonl (id, title, category path) and events.csv (user, item, time), as an export."""
    exported = _read_catalogue(data).keys() - set(left_out)
    with (folder / "items.jsonl").open("w", encoding="utf-8") as stream:
        for line in read_items(data, exported):
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    rng = np.random.default_rng(seed)
    rows = []
    for user, items in _read_lines(data):
        known = _training_items(items, left_out)
        times = rng.integers(0, DAY, len(known))
        for step, (item, time_of_day) in enumerate(zip(known, times.tolist(), strict=True)):
            day = NEWEST - DAY * (len(known) - 1 - step)
            rows.append((user, item, day + time_of_day))
    rows.sort(key=lambda row: row[2])
    with (folder / "events.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp"])
        writer.writerows(rows)


def run_command(*arguments: object) -> ProcessCost:
    """Run a command of the product in a process of its own.

    Raises:
        DataError: it failed; the message has its last lines.
    """
    begin = time.perf_counter()
    line = [sys.executable, "-m", "serendip", *map(str, arguments)]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        errors = process.stderr.read().decode("utf-8", "replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = " / ".join(errors.strip().splitlines()[-3:])
        raise DataError(f"`serendip {arguments[0]}` failed: {last}", "Run it by hand to see more.")
    return ProcessCost(
        round(usage.ru_utime + usage.ru_stime, 1),
        round(time.perf_counter() - begin, 1),
        round(usage.ru_maxrss / 1024, 1),
    )


def ask_service(
    workspace: Path,
    users: ServedUsers,
    posted: Sequence[Mapping[str, str]],
    progress: Progress,
) -> tuple[Values, Values, dict[str, Any]]:
    """Post items, then ask for every user.

    Returns:
        ranks (U,) of the targets in the answers, inf if they are not in them; the same in the
        order of the scores; costs of serving, without those of the posts.
    """
    shown, by_score = np.full(len(users), np.inf), np.full(len(users), np.inf)
    count = K + EXPLORED_TOO if posted else K
    with (
        run_service(workspace) as service,
        closing(http.client.HTTPConnection(service.netloc)) as connection,
    ):
        for begin in range(0, len(posted), _BATCH):
            post_items(connection, posted[begin : begin + _BATCH])
        started = _read_cpu_s(service.pid)
        for row in progress.track(range(len(users)), "users asked", len(users)):
            items = ask_user(connection, users.ids[row], users.posted[row], count)
            best = sorted(items, key=lambda item: -float(item["score"]))  # stable
            shown[row] = _rank_of(users.targets[row], items)
            by_score[row] = _rank_of(users.targets[row], best)
        spent = _read_cpu_s(service.pid) - started
        serving = {
            "start_cpu_s": round(started, 1),
            "cpu_s": round(spent, 1),
            "cpu_ms_per_user": round(1_000 * spent / max(len(users), 1), 2),
            "peak_mb": _read_peak_mb(service.pid),
            "ready_s": round(service.ready_s, 1),
        }
    return shown, by_score, serving


_BATCH = 100
"""Items of one post."""


def post_items(connection: http.client.HTTPConnection, items: Sequence[Mapping[str, str]]) -> None:
    """Post items with their category as an attribute."""
    rows = [
        {"item_id": item["item_id"], "title": item["title"], "attributes": {"category": path}}
        if (path := item["category"])
        else {"item_id": item["item_id"], "title": item["title"]}
        for item in items
    ]
    _request(connection, "POST", "/v1/items", {"items": rows})


def ask_user(
    connection: http.client.HTTPConnection, user_id: str, item_id: str, count: int = K
) -> list[dict[str, Any]]:
    """Post an event of a user, then ask for items of their home surface."""
    event = {"user_id": user_id, "item_id": item_id, "timestamp": NEWEST + DAY}
    _request(connection, "POST", "/v1/events", {"events": [event]})
    path = f"/v1/recommend?{urlencode({'surface': 'home', 'user_id': user_id, 'k': count})}"
    return list(_request(connection, "GET", path)["items"])


def _rank_of(item_id: str, items: Sequence[Mapping[str, Any]]) -> float:
    """The rank of an item among the first ten, from 1; inf if it is not among them."""
    ids = [item["item_id"] for item in items[:K]]
    return 1.0 + ids.index(item_id) if item_id in ids else np.inf


def _request(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None
) -> Any:
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status >= 300:
        raise DataError(f"{method} {path}: status {response.status}, {answer[:300]!r}.")
    return json.loads(answer)


def _read_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read_peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024, 1)


def _digest(data: Path) -> str:
    files = hash_files([data / SEQUENCES_FILE, data / ITEMS_FILE])
    return hashlib.sha256(files.encode()).hexdigest()[:16]


def _training_items(items: Sequence[str], left_out: Collection[str]) -> list[str]:
    """All items of a user but the last two and those that are left out."""
    known = items[:-2] if len(items) >= MIN_EVENTS else items
    return [item for item in known if item not in left_out]


def _read_lines(folder: Path) -> Iterator[tuple[str, list[str]]]:
    with (folder / SEQUENCES_FILE).open(encoding="utf-8") as stream:
        for line in stream:
            if line.strip():
                user, *items = line.split()
                yield user, items


def _read_catalogue(folder: Path) -> dict[str, Mapping[str, Any]]:
    with (folder / ITEMS_FILE).open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream if line.strip()]
    return {str(row["item_id"]): row for row in rows}


def _order_of(folder: Path) -> dict[str, Any]:
    """Item id -> its place in the order of the catalogue's own ids."""
    catalogue = _read_catalogue(folder)
    has_asin = all(row.get("asin") for row in catalogue.values())
    names = {item: str(row["asin"]) if has_asin else item for item, row in catalogue.items()}
    ordered = sorted(names, key=lambda item: names[item])
    return {item: place for place, item in enumerate(ordered)}
