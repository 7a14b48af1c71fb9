from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serendip.data.artefact import save_value
from serendip.models.base import Recommender
from serendip.models.item2vec import count_pairs
from serendip.models.item_to_item import ItemKNN, Transitions
from serendip.models.linalg import Sparse, to_csr
from serendip.models.sparse import row_tasks
from serendip.runtime.executor import LocalExecutor
from serendip.runtime.progress import TrainOptions
from serendip.testing.worlds import build_small_world


class LastFirst(LocalExecutor):
    """Runs tasks in threads, the last one first; results come in their order, as always."""

    tasks: Sequence[Any] = ()

    def map(self, work: Any, tasks: Any) -> Iterator[Any]:
        """See ``Executor.map``."""
        self.tasks = tasks
        with ThreadPoolExecutor(self.workers) as pool:
            return iter([*pool.map(work, tasks[::-1])][::-1])


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainOptions:
    """Tasks of two small blocks each."""
    monkeypatch.setattr(row_tasks, "BLOCKS_PER_TASK", 2)
    monkeypatch.setattr("serendip.models.sparse.pair_counts.PAIRS_PER_BLOCK", 500)
    monkeypatch.setattr("serendip.models.item_to_item._PAIRS_PER_BLOCK", 100)
    return TrainOptions(executor=LastFirst(3), shared=tmp_path / "shared")


def read_files(model: Recommender, folder: Path) -> dict[str, bytes]:
    model.save(folder)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("kind", [ItemKNN, Transitions])
def test_a_model_counted_in_tasks_is_that_of_one_process(
    kind: type[Recommender], options: TrainOptions, tmp_path: Path
) -> None:
    dataset = build_small_world(seed=4)
    alone = kind().train(dataset, TrainOptions())
    shared = kind().train(dataset, options)
    assert len(options.executor.tasks) > 1  # type: ignore[attr-defined]
    assert read_files(shared, tmp_path / "shared-model") == read_files(alone, tmp_path / "alone")
    assert not [*(tmp_path / "shared").iterdir()]


def test_tasks_have_strengths_and_may_run_twice(options: TrainOptions, tmp_path: Path) -> None:
    dataset = build_small_world(seed=4)
    alone = count_pairs(dataset, 4)
    shared = count_pairs(dataset, 4, options)
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(shared, name), getattr(alone, name))
    assert len(options.executor.tasks) > 1  # type: ignore[attr-defined]

    save_value({"size": 9}, tmp_path / "source")
    task = row_tasks.RowTask(row_of_identity, str(tmp_path), 9, ((2, 3), (3, 5)))
    first, second = row_tasks.compute_task(task), row_tasks.compute_task(task)
    assert first != second
    assert str(task) == "rows 2 to 5 of a matrix"


def row_of_identity(parts: row_tasks.Parts, rows: slice) -> Sparse:
    return to_csr(np.eye(int(parts["size"]), dtype=np.float32)[rows])
