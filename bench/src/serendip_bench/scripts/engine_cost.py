"""What a job costs in two local processes, and on Ray with two nodes of one core.

python -m serendip_bench.scripts.engine_cost WORKSPACE [--jobs batch,embed,counts,train]

WORKSPACE is trained; each run takes a copy of it. CPU-seconds are those of all processes that the
job has, this one and those of the cluster while the job runs; starting the cluster is a line of
its own. Bytes are what tasks were given and what they returned, as they are sent: what Ray keeps in
its object store, also for each event of the log. What tasks read from files, and write there, is
counted apart, as it is at the end of the job; ``--blocks N`` makes tasks of N blocks of pairs or of
codes, ``--pairs N`` blocks of N pairs, so that a small workspace has several; ``--tasks N`` runs
the first N tasks of a job and leaves out the rest, for a part of the users of a large one.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle  # Only to measure what an executor sends: nothing is ever loaded.
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from serendip.runtime.threads import limit_threads

limit_threads(1)

from serendip.jobs.context import JobContext
from serendip.jobs.exports import embeddings, recommendations
from serendip.models import item_to_item
from serendip.models.sparse import pair_counts, row_tasks
from serendip.runtime.executor import Executor
from serendip.runtime.progress import TrainOptions
from serendip_bench.scripts.kill_nodes import JOBS
from serendip_bench.scripts.same_bytes import local, ray_nodes

Task = TypeVar("Task")
Result = TypeVar("Result")

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def descends(pid: int, parents: Mapping[int, int]) -> bool:
    """Whether a process is this one or descends from it.

    Args:
        pid: of the process.
        parents: process -> its parent.
    """
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = parents.get(pid, 0)
    return False


class CpuMeter:
    """CPU-seconds of this process and of all that descend from it, looked at every tenth second.

    What a process uses after the last look at it is not counted.
    """

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> CpuMeter:
        """Begin to look."""
        self._look()
        self._before = sum(self._seen.values())
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Look once more."""
        self._ended.set()
        self._thread.join()
        self._look()
        self.wall_s = time.monotonic() - self._began
        self.cpu_s = sum(self._seen.values()) - self._before

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self._look()

    def _look(self) -> None:
        found, parents = {}, {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except OSError:  # it has ended in between
                continue
            pid = int(path.parent.name)
            parents[pid] = int(fields[1])
            found[pid] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
        for pid, cpu_s in found.items():
            if pid in self._seen or descends(pid, parents):
                self._seen[pid] = cpu_s


class CountedExecutor(Executor):
    """Counts the bytes of tasks and results of another executor.

    Args:
        executor: runs the tasks.
        most_tasks: of a ``map`` that are run; None = all.
    """

    def __init__(self, executor: Executor, most_tasks: int | None = None) -> None:
        self._executor, self.name, self.workers = executor, executor.name, executor.workers
        self._most_tasks = most_tasks
        self.tasks = self.sent = self.returned = self.files = 0
        self.shared: Path | None = None

    def _count_files(self) -> None:
        """Bytes of the files that tasks have read and written, at this moment."""
        if self.shared is not None and self.shared.is_dir():
            sizes = (path.stat().st_size for path in self.shared.rglob("*") if path.is_file())
            self.files = max(self.files, sum(sizes))

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See ``Executor.map``."""
        tasks = tasks[: self._most_tasks]
        self.tasks += len(tasks)
        self.sent += sum(len(pickle.dumps(task)) for task in tasks)
        for result in self._executor.map(work, tasks):
            self.returned += len(pickle.dumps(result))
            self._count_files()
            yield result


def run(
    workspace: Path, job: str, executor: Executor, most_tasks: int | None = None
) -> dict[str, Any]:
    """Costs of a job in a copy of a workspace."""
    counted = CountedExecutor(executor, most_tasks)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(workspace, Path(scratch) / "workspace"))
        counted.shared = folder / "cache" / "tasks"
        with CpuMeter() as meter:
            JOBS[job](folder, TrainOptions(executor=counted))
        events = len(JobContext.open(folder).dataset.events)
    costs = {"cpu_s": round(meter.cpu_s, 2), "wall_s": round(meter.wall_s, 2)}
    sent = {"tasks": counted.tasks, "sent": counted.sent, "returned": counted.returned}
    sent["files"] = counted.files
    per_event = round((counted.sent + counted.returned) / max(1, events), 2)
    return {"job": job, **costs, **sent, "events": events, "per_event": per_event}


def main() -> None:
    """Measure all jobs with both engines in turn; print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--jobs", default="batch,embed")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--users", type=int, default=4_096, help="users of a task")
    parser.add_argument("--tasks", type=int, help="tasks that are run; default: all")
    parser.add_argument("--blocks", type=int, help="blocks of pairs, and of codes, of a task")
    parser.add_argument("--pairs", type=int, help="pairs of a block")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    recommendations.USERS_PER_TASK = options.users
    embeddings.ROWS_PER_TASK = options.users
    if options.blocks:
        row_tasks.BLOCKS_PER_TASK = options.blocks
    if options.pairs:
        pair_counts.PAIRS_PER_BLOCK = item_to_item._PAIRS_PER_BLOCK = options.pairs
    rows = []
    with ExitStack() as stack:
        with CpuMeter() as start:
            cluster = stack.enter_context(ray_nodes(2))
        print(f"cluster of two nodes: {start.cpu_s:.1f} CPU-s, {start.wall_s:.1f} s")
        engines = (("2 processes", stack.enter_context(local(2))), ("Ray, 2 nodes", cluster))
        for job in options.jobs.split(",") * options.runs:
            for name, executor in engines:
                row = {"engine": name, **run(options.workspace, job, executor, options.tasks)}
                rows.append(row)
                print(
                    f"{job:<6} {name:<13} {row['cpu_s']:8.1f} CPU-s {row['wall_s']:8.1f} s"
                    f" {row['tasks']:>5,} tasks"
                    f" {row['sent']:>12,} bytes sent {row['returned']:>12,} returned"
                    f" {row['per_event']:8.2f} per event {row['files']:>12,} in files",
                    flush=True,
                )
    if options.json:
        document = {"benchmark": "engine_cost", "rows": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
