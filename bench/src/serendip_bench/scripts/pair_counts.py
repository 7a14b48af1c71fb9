"""CPU time and memory of the models that count pairs of items, beside the same work by libraries.

python -m serendip_bench.scripts.pair_counts SHOP [--encoder hashing] [--json FILE]

SHOP is a folder with ``items.parquet`` (sku, name) and ``events.parquet`` (customer, sku, when; in
order of time). Each line runs in a process of its own, on one thread; reading the files and
encoding the names are not counted. Peak memory includes the data. ``implicit`` is measured where it
is installed: ``uv pip install -e . -e './bench[pairs]'``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads
from serendip_bench.bench_executor import BenchExecutor

limit_threads(1)

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.data import Catalogue, Dataset, EventLog, IntArray, Item, ItemFeatures, Vocabulary
from serendip.models.item_to_item import ItemKNN, build_user_item_matrix
from serendip.models.transitions import Transitions, TransitionsConfig
from serendip.runtime.timing import StageClock, peak_memory_mb

NUM_NEIGHBOURS = 200
NUM_GAPS = 10


@dataclass(frozen=True, slots=True)
class PairCountTask:
    """One line of the table: which work, on which shop, with which content vectors."""

    line: str
    shop: str
    vectors: str


def read_shop(folder: Path, vectors: Path) -> Dataset:
    """Read items and events, and content vectors where the file exists."""
    table = pq.read_table(folder / "items.parquet", columns=["sku", "name"])
    names = table["name"].to_pylist()
    catalogue = Catalogue(map(Item, table["sku"].to_pylist(), names))
    events = pq.read_table(folder / "events.parquet", columns=["customer", "sku", "when"])
    customers = events["customer"].combine_chunks().dictionary_encode()
    items = pc.index_in(events["sku"], table["sku"]).to_numpy().astype(np.int32)
    log = EventLog(
        customers.indices.to_numpy().astype(np.int32),
        items,
        events["when"].to_numpy().astype(np.float64),
        np.zeros(len(items), np.bool_),
        np.full(len(items), np.nan, np.float32),
    )
    dataset = Dataset(catalogue, Vocabulary(customers.dictionary.to_pylist()), log)
    if not vectors.exists():
        return dataset
    codes = np.zeros((len(catalogue), 0), np.int32)
    return dataset.with_features(ItemFeatures(np.load(vectors, mmap_mode="r"), codes, 0))


def fit_implicit(dataset: Dataset) -> None:
    """Item-kNN of ``implicit``: unshrunk cosines."""
    from implicit.nearest_neighbours import CosineRecommender

    matrix = build_user_item_matrix(dataset)
    model = CosineRecommender(K=NUM_NEIGHBOURS, num_threads=1)
    model.fit(matrix, show_progress=False)


def multiply_with_sparse_dot_topn(dataset: Dataset) -> None:
    """Unshrunk cosines of all items in one call."""
    from scipy.sparse import csr_matrix
    from sparse_dot_topn import sp_matmul_topn

    matrix = csr_matrix(build_user_item_matrix(dataset))
    matrix.data /= np.sqrt(np.bincount(matrix.indices))[matrix.indices].astype(np.float32)
    sp_matmul_topn(matrix.T.tocsr(), matrix, NUM_NEIGHBOURS, threshold=0.0)


def count_with_scipy(dataset: Dataset) -> None:
    """All steps of all gaps, forward only, in one matrix; nothing is scaled or dropped."""
    from scipy.sparse import coo_matrix

    order = np.argsort(dataset.events.users, kind="stable")
    users, items = dataset.events.users[order], dataset.events.items[order]
    parts: list[tuple[IntArray, IntArray, IntArray]] = []
    for gap in range(1, NUM_GAPS + 1):
        is_pair = users[:-gap] == users[gap:]
        parts.append((items[:-gap][is_pair], items[gap:][is_pair], np.full(is_pair.sum(), gap)))
    earlier, later, gaps = map(np.concatenate, zip(*parts, strict=True))
    values = (1.0 / gaps).astype(np.float32)
    coo_matrix((values, (earlier, later)), shape=(dataset.num_items,) * 2).tocsr()


LINES: dict[str, Callable[[Dataset], object]] = {
    "item-knn": lambda dataset: ItemKNN().train(dataset),
    "implicit CosineRecommender": fit_implicit,
    "sparse-dot-topn": multiply_with_sparse_dot_topn,
    "transitions": lambda dataset: Transitions().train(dataset),
    "transitions, plain": lambda data: Transitions(TransitionsConfig(mode="plain")).train(data),
    "numpy and scipy, steps": count_with_scipy,
}


def measure(task: PairCountTask) -> dict[str, Any]:
    """CPU seconds and peak memory of one line."""
    dataset = read_shop(Path(task.shop), Path(task.vectors))
    before, clock = peak_memory_mb(), StageClock()
    with clock.stage(task.line):
        LINES[task.line](dataset)
    return {**asdict(clock.stages[0]), "data_mb": round(before, 1)}


def encode_names(task: tuple[str, str, str]) -> None:
    """Write the vectors of the items' names: shop, encoder, npy file."""
    shop, encoder, target = task
    names = pq.read_table(Path(shop) / "items.parquet", columns=["name"])["name"].to_pylist()
    vectors = open_encoder(TextEncoderConfig(name=encoder)).encode(names)
    np.save(target, vectors, allow_pickle=False)


def main() -> None:
    """Measure all lines, one after the other; print a table, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--encoder", default="hashing", help="of the items' names")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    lines = [name for name in LINES if find_spec("implicit") or not name.startswith("implicit")]
    executor = BenchExecutor(1)
    with tempfile.TemporaryDirectory() as folder:
        shop, vectors = str(options.shop), str(Path(folder) / "vectors.npy")
        list(executor.as_finished(encode_names, [(shop, options.encoder, vectors)]))
        tasks = [PairCountTask(line, shop, vectors) for line in lines]
        rows = []
        for row in executor.as_finished(measure, tasks):
            rows.append(row)
            print(
                f"{row['name']:<28} {row['cpu_s']:>7.2f} CPU-s {row['peak_mb']:>7,.0f} MB",
                flush=True,
            )
    if options.json:
        document = {"benchmark": "pair_counts", "encoder": options.encoder, "rows": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
