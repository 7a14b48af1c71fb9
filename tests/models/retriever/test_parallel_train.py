"""Data-parallel training: a step of several processes is that of one."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thread_executor import ThreadExecutor

from serendip.data.dataset import Dataset, EventLog
from serendip.errors import ConfigError, SerendipError
from serendip.models.early_stopping import StoppingRule, train_epochs
from serendip.models.retriever.artefact import TrainedRetriever
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.parallel_train import (
    HelperTask,
    ProcessGroup,
    ProcessLoss,
    help_train,
    note_failure,
)
from serendip.models.retriever.train import RetrieverTraining, train_retriever
from serendip.models.retriever.training_data import training_fingerprint
from serendip.runtime.executor import LocalExecutor
from serendip.runtime.progress import SilentProgress, TrainOptions, empty_note
from serendip.testing.worlds import build_small_world

CONFIG = RetrieverConfig(
    embedding_size=16, search_size=8, epochs=2, max_len=10, dropout=0.0, id_dropout=0.0
)
"""Nothing is drawn but what the process of the training draws."""


def train(shared: Path, processes: int, executor: ThreadExecutor | None = None) -> TrainedRetriever:
    executor = executor or ThreadExecutor(processes)
    options = TrainOptions(5, shared=shared, executor=executor, train_processes=processes)
    return train_retriever(build_small_world(seed=8), CONFIG, options)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> TrainedRetriever:
    return train(tmp_path_factory.mktemp("alone"), 1)


@pytest.mark.parametrize("processes", [2, 3])
def test_a_training_of_several_processes_is_that_of_one(
    alone: TrainedRetriever, tmp_path: Path, processes: int
) -> None:
    executor = ThreadExecutor(processes)
    together = train(tmp_path, processes, executor)
    assert len(executor.tasks) == processes - 1
    assert np.abs(together.item_vectors - alone.item_vectors).max() < 1e-3
    start, other = together.start, alone.start
    assert start is not None
    assert other is not None
    for name, values in start.parameters.items():
        assert np.allclose(values, other.parameters[name], atol=1e-3), name
    assert not [*tmp_path.iterdir()]


class KeptProcess(LocalExecutor):
    """Streams run in one process, which stays, so that torch is imported once; their first result
    is not waited for.
    """

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        super().__init__(2)
        self._pool = pool

    @contextmanager
    def stream(self, work: Any, task: Any, start_s: float | None = None) -> Iterator[Iterator[Any]]:
        done = self._pool.submit(drain, work, task)
        yield iter([True])
        done.result()


def drain(work: Callable[[Any], Generator[bool]], task: Any) -> int:
    torch.set_num_threads(1)
    return sum(work(task))


@dataclass
class CopiedCheckpoint(SilentProgress):
    """Copies the checkpoint before the second epoch."""

    folder: Path
    copy: Path

    def track(
        self, items: Any, description: str, total: int, note: Callable[[], str] = empty_note
    ) -> Iterator[Any]:
        for item in items:
            if item == 1:
                shutil.copytree(self.folder, self.copy)
            yield item


class NotedTraining(RetrieverTraining):
    """Notes which epochs it runs."""

    ran: tuple[int, ...] = ()

    def epoch(self, number: int) -> None:
        self.ran += (number,)
        super().epoch(number)


@pytest.fixture(scope="module")
def kept_process() -> Iterator[KeptProcess]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield KeptProcess(pool)


def test_a_training_of_two_processes_that_is_resumed_draws_the_same_dropout(
    kept_process: KeptProcess, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"dropout": 0.3, "id_dropout": 0.3})
    found = []
    options = TrainOptions(
        checkpoint=tmp_path / "whole",
        executor=kept_process,
        shared=tmp_path / "shared",
        train_processes=2,
    )
    copied = CopiedCheckpoint(tmp_path / "whole", tmp_path / "copy")
    resumed = replace(options, checkpoint=tmp_path / "copy")
    for one in (replace(options, progress=copied), resumed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            training = NotedTraining(build_small_world(seed=8), config, 5)
            with training.open_steps(one):
                train_epochs(training, StoppingRule(2, 9), one, "digest", "epochs")
        found.append(training)
    assert [training.ran for training in found] == [(0, 1), (1,)]
    whole, again = (training.module.state_dict() for training in found)
    assert all(torch.equal(values, again[name]) for name, values in whole.items())


def build_chain() -> Dataset:
    """A world where each item is followed by the third next one."""
    world, users = build_small_world(num_users=40), np.tile(np.arange(40), 10)
    first = np.random.default_rng(1).integers(0, 28, 40)
    items = (first[users] + 3 * np.repeat(np.arange(10), 40)) % 28
    counts = np.arange(len(users), dtype=np.float64)
    nothing = np.zeros(len(users), np.bool_), np.full(len(users), np.nan, np.float32)
    log = EventLog(users.astype(np.int32), items.astype(np.int32), counts, *nothing)
    return replace(world, events=log)


def measure_gains(options: TrainOptions) -> list[float]:
    """nDCG@10 of held-out events before a training with much dropout, and after it."""
    changes = {"dropout": 0.3, "id_dropout": 0.3, "learning_rate": 0.02, "batch_size": 32}
    more = {"tasks": ("home",), "search_size": 0, "validation_share": 0.2, "epochs": 3}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        config = CONFIG.model_copy(update={**changes, **more})
        training = RetrieverTraining(build_chain(), config, options.seed)
        before = training.validate()
        with training.open_steps(options):
            for number in range(config.epochs):
                training.epoch(number)
        after = training.validate()
    assert before is not None and after is not None
    return [before, after]


def test_with_dropout_two_processes_train_as_well_as_one_does_with_other_seeds(
    kept_process: KeptProcess, tmp_path: Path
) -> None:
    options = TrainOptions(executor=kept_process, shared=tmp_path)
    alone, together = (
        np.array(
            [measure_gains(replace(options, seed=seed, train_processes=count)) for seed in range(3)]
        )
        for count in (1, 2)
    )
    assert np.array_equal(alone[:, 0], together[:, 0])  # nothing is trained yet
    assert not np.array_equal(alone[:, 1], together[:, 1])  # dropout draws other numbers
    means = [gains[:, 1].mean() for gains in (alone, together)]
    assert min(means) > alone[:, 0].max() + 0.05
    assert abs(means[0] - means[1]) < 0.06  # of one seed they differ by 0.03 or so


def test_checkpoints_of_other_numbers_of_processes_are_not_continued() -> None:
    dataset = build_small_world()
    digests = {training_fingerprint(dataset, CONFIG, 0, count) for count in (1, 2, 3)}
    assert len(digests) == 3


def begin_and_fail(task: HelperTask) -> Generator[bool]:
    """A helper that meets an error of its own once it is connected."""
    yield True
    group = ProcessGroup(Path(task.folder), task.number, task.count, 60)
    with closing(group), note_failure(task):
        raise MemoryError("no room for rows")


def begin_and_end(task: HelperTask) -> Generator[bool]:
    """A helper that is gone before it connects."""
    yield True


class OtherHelper(ThreadExecutor):
    """Runs another helper; its end with an error is told by its file alone."""

    name = "ray"

    def __init__(self, helper: Callable[[HelperTask], Generator[bool]]) -> None:
        super().__init__(2)
        self._helper = helper

    def stream(self, work: Any, task: Any, start_s: float | None = None) -> Any:
        return super().stream(self._quietly, task)

    def _quietly(self, task: HelperTask) -> Generator[bool]:
        with suppress(MemoryError, ProcessLoss):
            yield from self._helper(task)


@contextmanager
def open_group(shared: Path, executor: LocalExecutor) -> Iterator[None]:
    """A training with a helper, as an epoch begins."""
    training = RetrieverTraining(build_small_world(), CONFIG, 0)
    options = TrainOptions(executor=executor, shared=shared, train_processes=2)
    with training.open_steps(options):
        training.steps.begin(training.module, training.optimiser, 0)
        yield


def test_an_error_of_a_helper_is_told_as_it_is(tmp_path: Path) -> None:
    with (
        pytest.raises(SerendipError, match=r"helper 1 .* failed: MemoryError: no room") as caught,
        open_group(tmp_path, OtherHelper(begin_and_fail)),
    ):
        pass
    assert "begin_and_fail" in "".join(caught.value.__notes__)
    assert isinstance(caught.value.__cause__, ProcessLoss)


def test_a_helper_that_is_gone_before_it_connects_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serendip.models.retriever.parallel_train._CONNECT_S", 0.2)
    with (
        pytest.raises(SerendipError, match="lost one another"),
        open_group(tmp_path, OtherHelper(begin_and_end)),
    ):
        pass


def test_an_error_of_the_training_itself_stays_what_it_is(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="cannot allocate"),
        open_group(tmp_path, OtherHelper(help_train)),
    ):
        raise RuntimeError("cannot allocate memory")


def test_helpers_of_a_cluster_of_this_machine_alone_listen_on_the_loopback(tmp_path: Path) -> None:
    executor = OtherHelper(help_train)
    with open_group(tmp_path, executor):
        ports = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        own = {os.stat(path).st_ino for path in Path("/proc/self/fd").iterdir() if path.exists()}
    heard = {port[1].split(":")[0] for port in ports if port[3] == "0A" and int(port[9]) in own}
    assert heard == {"0100007F"}
    assert executor.tasks[0].is_local


@pytest.mark.parametrize("workers", [1, 2])
def test_fewer_workers_than_processes_are_refused(tmp_path: Path, workers: int) -> None:
    with pytest.raises(ConfigError, match=f"train_processes is 3, and workers {workers}"):
        train(tmp_path, 3, ThreadExecutor(workers))
    with pytest.raises(ConfigError, match="a folder that all of them see"):
        TrainOptions(executor=ThreadExecutor(2), train_processes=2).require_workers()
