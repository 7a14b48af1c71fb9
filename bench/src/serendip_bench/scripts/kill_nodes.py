"""Whether jobs on Ray end right when processes and nodes are killed at random moments.

python -m serendip_bench.scripts.kill_nodes WORKSPACE [--runs 50] [--jobs train,embed,batch]

WORKSPACE is trained and small. Two nodes of one core run on this machine. Each run takes a copy of
the workspace and starts a job, and at a random moment a process of a task, or the raylet of the
second node, is killed with SIGKILL; a new node joins after it. A run is right if the job writes
what it writes undisturbed; or if it ends with an error that names what was killed, has published
nothing, and writes the same when it is run again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

from serendip.errors import SerendipError
from serendip.jobs.context import JobContext
from serendip.jobs.exports import embeddings, recommendations
from serendip.jobs.train.train import train_workspace
from serendip.runtime.executor import Executor
from serendip.runtime.progress import TrainOptions
from serendip_bench.scripts.peak_memory import find_descendants
from serendip_bench.scripts.same_bytes import (
    NOW,
    answer,
    count_pairs,
    embed_users,
    hash_all,
    local,
    open_cluster,
)

TASK_NAMES = (b"ray::_run",)


def train(folder: Path, options: TrainOptions) -> Path:
    """Train a generation; returns its folder."""
    return train_workspace(JobContext.open(folder, options)).folder


JOBS: dict[str, Callable[[Path, TrainOptions], Path]] = {
    "train": train,
    "counts": count_pairs,
    "embed": embed_users,
    "batch": answer,
}


def find_tasks() -> list[int]:
    """Processes of this script that run a task now: others are not ours to kill."""
    return find_descendants(*TASK_NAMES)


class Killer:
    """Kills a process of a task, or the second node, after a while.

    Args:
        cluster: the two nodes.
        kind: ``task`` or ``node``.
        after_s: seconds from the beginning.
    """

    def __init__(self, cluster: Any, kind: str, after_s: float) -> None:
        self._cluster, self._kind, self._after_s = cluster, kind, after_s
        self._ended, self.killed = threading.Event(), ""
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Killer:
        """Begin to wait."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for the kill, if it has begun; a new node joins if one was killed."""
        self._ended.set()
        self._thread.join()
        if self.killed == "node":
            from serendip.runtime.ray_cluster import add_node

            (node,) = self._cluster.worker_nodes
            self._cluster.remove_node(node, allow_graceful=False)
            add_node(self._cluster, 1)

    def _run(self) -> None:
        if self._ended.wait(self._after_s):
            return
        if self._kind == "node":
            (node,) = self._cluster.worker_nodes
            os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
            self.killed = "node"
            return
        while not (tasks := find_tasks()):
            if self._ended.wait(0.01):
                return
        os.kill(random.choice(tasks), signal.SIGKILL)
        self.killed = "task"


def run_job(
    workspace: Path, job: str, executor: Executor, killer: Killer | None = None
) -> tuple[str, str]:
    """Run a job in a copy of a workspace; the hash of what it wrote, and how it ended.

    Where it ended with an error it is run again, undisturbed.
    """
    options = TrainOptions(executor=executor)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(workspace, Path(scratch) / "workspace"))
        before = (folder / "generations" / "CURRENT").read_bytes()
        if killer is None:
            return hash_all(JOBS[job](folder, options)), "undisturbed"
        try:
            with killer:
                return hash_all(JOBS[job](folder, options)), "finished"
        except SerendipError as error:
            if "killed" not in str(error):
                raise
        unchanged = (folder / "generations" / "CURRENT").read_bytes() == before
        again = hash_all(JOBS[job](folder, options))
        return (again if unchanged else "published"), "run again"


def main() -> None:
    """Run all; exit code 1 if a run was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--runs", type=int, default=50, help="in all")
    parser.add_argument("--jobs", default="train,embed,batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the counts")
    options = parser.parse_args()
    random.seed(options.seed)
    jobs = options.jobs.split(",")
    recommendations.USERS_PER_TASK = embeddings.ROWS_PER_TASK = 8
    counts: Counter[str] = Counter()
    with local(1) as here, open_cluster(2) as (cluster, executor):
        expected = {job: run_job(options.workspace, job, here)[0] for job in jobs}
        seconds = {}
        for job in jobs:
            began = time.monotonic()
            assert run_job(options.workspace, job, executor)[0] == expected[job], job
            seconds[job] = time.monotonic() - began
        for number in range(options.runs):
            job = jobs[number % len(jobs)]
            kind = ("task", "node")[number // len(jobs) % 2]
            killer = Killer(cluster, kind, random.uniform(0, 0.8 * seconds[job]))
            found, end = run_job(options.workspace, job, executor, killer)
            verdict = "right" if found == expected[job] else "WRONG"
            counts[f"{job}, {killer.killed or 'nothing'} killed, {end}: {verdict}"] += 1
            print(f"{number + 1}: {job}, {killer.killed or 'nothing'} killed, {end}: {verdict}")
    for name, count in sorted(counts.items()):
        print(f"{count:>4} {name}")
    if options.json:
        document = {"benchmark": "kill_nodes", "now": NOW, "counts": counts}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(any("WRONG" in name for name in counts))


if __name__ == "__main__":
    main()
