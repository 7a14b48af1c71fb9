"""Whether jobs give the same bytes in one process, in two, and on Ray with one node and with two.

python -m serendip_bench.scripts.same_bytes WORKSPACE [--json FILE] [--users N] [--pairs N]

WORKSPACE is trained; each line is computed in a copy of it. The table has a hash per line and
engine: ``vectors`` are the cached vectors of all texts, encoded again; ``answers`` and ``user
vectors`` the files of ``recommend --batch`` and ``embed users``; ``pair counts`` item-kNN and
transitions, counted again from the log in blocks of N pairs. The last line says whether all engines
agree.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from serendip.runtime.threads import limit_threads

limit_threads(1)


from serendip.content import cache as vector_cache
from serendip.content.features import encode_items
from serendip.engine.request import Request
from serendip.jobs.context import JobContext
from serendip.jobs.exports import embeddings, recommendations
from serendip.models import item_to_item
from serendip.models.item_to_item import ItemKNN
from serendip.models.sparse import pair_counts
from serendip.models.sparse import row_tasks as sparse_rows
from serendip.models.transitions import Transitions
from serendip.runtime.executor import Executor, LocalExecutor
from serendip.runtime.executor_config import ExecutorConfig
from serendip.runtime.executor_factory import secure_ray
from serendip.runtime.progress import TrainOptions

NOW = 2_000_000_000.0
"""The time of all requests."""


@contextmanager
def open_cluster(nodes: int) -> Iterator[tuple[Any, Executor]]:
    """So many nodes of one core each on this machine, and an executor of two workers on them."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    secure_ray("")
    from serendip.runtime.ray_cluster import RayExecutor, end_nodes, start_nodes

    cluster = start_nodes([1] * nodes)
    try:
        config = ExecutorConfig(name="ray", address=cluster.address, workers=2)
        yield cluster, RayExecutor(config)
    finally:
        end_nodes(cluster)


@contextmanager
def ray_nodes(count: int) -> Iterator[Executor]:
    """An executor on so many nodes."""
    with open_cluster(count) as (_, executor):
        yield executor


@contextmanager
def local(workers: int) -> Iterator[Executor]:
    """An executor of local processes."""
    yield LocalExecutor(workers)


OpenEngine: TypeAlias = Callable[[], AbstractContextManager[Executor]]

ENGINES: dict[str, OpenEngine] = {
    "1 process": lambda: local(1),
    "2 processes": lambda: local(2),
    "Ray, 1 node": lambda: ray_nodes(1),
    "Ray, 2 nodes": lambda: ray_nodes(2),
}


def encode(folder: Path, options: TrainOptions) -> Path:
    """Encode all texts again; returns the folder of the vectors."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    context = JobContext.open(folder, options)
    fields, items = context.settings.content.fields, context.dataset.catalogue.items
    encode_items(items, context.encoder, context.vectors, fields, context.media, context.options)
    return folder / "cache"


def answer(folder: Path, options: TrainOptions) -> Path:
    """Answers for all users."""
    out = folder / "answers.parquet"
    recommendations.recommend_all(folder, Request("home", reasons=False), out, options, now=NOW)
    return out


def embed_users(folder: Path, options: TrainOptions) -> Path:
    """Vectors of all users."""
    out = folder / "users.parquet"
    embeddings.embed(folder, "users", out, options, now=NOW)
    return out


def count_pairs(folder: Path, options: TrainOptions) -> Path:
    """Item-kNN and transitions of the log."""
    context, out = JobContext.open(folder, options), folder / "pairs"
    for model in (ItemKNN(), Transitions()):
        model.train(context.dataset, context.options).save(out / model.name)
    return out


LINES: dict[str, Callable[[Path, TrainOptions], Path]] = {
    "vectors": encode,
    "answers": answer,
    "user vectors": embed_users,
    "pair counts": count_pairs,
}


def hash_all(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder.

    Manifests have the time and are left out. The files of a word index have random names, which are
    left out with the lists of them.
    """
    digest = hashlib.sha256()
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    for _, name, file in sorted((file.parent, _name(file), file) for file in files):
        if file.name not in ("manifest.json", ".managed.json", "meta.json"):
            digest.update(name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _name(file: Path) -> str:
    """What a file is called whenever it is written."""
    return file.suffix if file.parent.name == "search" else file.name


def compute_hashes(workspace: Path, open_engine: OpenEngine) -> dict[str, str]:
    """Hash of each line with one engine."""
    with open_engine() as executor, tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(workspace, Path(scratch) / "workspace"))
        options = TrainOptions(executor=executor)
        return {name: hash_all(line(folder, options)) for name, line in LINES.items()}


def main() -> None:
    """Compute all lines with all engines; exit code 1 if two differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--json", type=Path, help="file for the hashes")
    parser.add_argument("--users", type=int, default=4_096, help="users, or texts, of a task")
    parser.add_argument("--pairs", type=int, default=200_000, help="pairs of a block of counts")
    options = parser.parse_args()
    recommendations.USERS_PER_TASK = options.users
    embeddings.ROWS_PER_TASK = options.users
    vector_cache.BATCHES_PER_TASK = max(1, options.users // 1024)
    pair_counts.PAIRS_PER_BLOCK = item_to_item._PAIRS_PER_BLOCK = options.pairs
    sparse_rows.BLOCKS_PER_TASK = 1
    found = {}
    for name, open_engine in ENGINES.items():
        found[name] = compute_hashes(options.workspace, open_engine)
        print(f"{name:<14}", *(f"{line} {digest}" for line, digest in found[name].items()))
    is_same = len({json.dumps(hashes) for hashes in found.values()}) == 1
    print("all engines agree" if is_same else "engines DIFFER")
    if options.json:
        document = {"benchmark": "same_bytes", "hashes": found}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if is_same else 1)


if __name__ == "__main__":
    main()
