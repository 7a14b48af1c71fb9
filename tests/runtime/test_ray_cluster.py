"""The executor on Ray, on two real nodes: its contract, deaths of processes, the same bytes."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from executor_contract import ExecutorContract, square
from ray_nodes import Nodes, two_nodes

from serendip.errors import ConfigError
from serendip.runtime.executor import Executor
from serendip.runtime.executor_config import EngineChoice, ExecutorConfig, secure_ray

if find_spec("ray") is None:  # it reads the environment when it is imported, so not here
    pytest.skip("Ray is not installed", allow_module_level=True)

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    before = dict(os.environ)
    try:
        with two_nodes(tmp_path_factory.mktemp("path")) as found:
            yield found
    finally:
        os.environ.clear()
        os.environ.update(before)


def die_first(path: str) -> str:
    """Die in the first attempt."""
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)
    return "not reached"


def die_between(path: str) -> Generator[int]:
    """Die in the first attempt after two results."""
    yield 1
    yield 2
    die_first(path)
    yield 3


class TestRayExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Executor:
        monkeypatch.setattr("serendip.runtime.ray_cluster._ATTEMPTS", 2)
        return nodes.executor

    def test_tasks_run_on_both_nodes(self, executor: Executor) -> None:
        assert executor.workers == 2
        assert len({process for _, process in executor.map(square, [*range(8)])}) >= 2

    def test_a_task_whose_process_is_killed_runs_again(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        assert list(executor.map(die_first, [str(tmp_path / "died")])) == ["done"]

    def test_a_stream_whose_process_is_killed_goes_on(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        with executor.stream(die_between, str(tmp_path / "died")) as results:
            assert list(results) == [1, 2, 3]


def test_a_cluster_that_asks_for_no_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigError, match="could run code on it"):
        secure_ray("10.0.0.1:6379")


def test_what_a_command_is_told_comes_before_the_settings() -> None:
    settings = ExecutorConfig(name="ray", address="auto", workers=3)
    assert EngineChoice().apply(settings) is settings
    assert EngineChoice("local").apply(settings) == ExecutorConfig(workers=3)
    told = EngineChoice(address="head:6379").apply(settings)
    assert told == settings.model_copy(update={"address": "head:6379"})
    with pytest.raises(ConfigError, match='name = "ray"'):
        EngineChoice(address="auto").apply(ExecutorConfig())
    with pytest.raises(ConfigError, match="name"):
        EngineChoice("spark").apply(ExecutorConfig())
