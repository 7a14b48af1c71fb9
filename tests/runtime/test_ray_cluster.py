import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import invoke
from executor_contract import ExecutorContract
from generation_files import read_facts, read_generation
from processes import is_running, wait_until
from ray_nodes import Nodes, free_port, has_ray_serve, two_nodes
from small_shop import WITHOUT_SEARCHES, import_shop, write_files

from serendip.content import cache as vector_cache
from serendip.content.cache import VectorCache
from serendip.content.encoders.text import HashingEncoder
from serendip.content.features import encode_items
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace, WorkspaceLocation
from serendip.errors import ConfigError, SerendipError
from serendip.jobs.context import JobContext
from serendip.jobs.exports import embeddings, recommendations
from serendip.jobs.exports.embeddings import embed
from serendip.jobs.exports.recommendations import recommend_all
from serendip.jobs.train.train import train_workspace
from serendip.models.item2vec import count_pairs
from serendip.models.sparse import pair_counts
from serendip.models.sparse import row_tasks as sparse_rows
from serendip.runtime.executor import IN_PROCESS, Executor, ExecutorConfig, LocalExecutor
from serendip.runtime.executor_factory import open_executor, secure_ray
from serendip.runtime.progress import TrainOptions
from serendip.testing.worlds import build_small_world

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


def meet(folder: str) -> int:
    Path(folder, str(os.getpid())).touch()
    wait_until(lambda: len([*Path(folder).iterdir()]) > 1, "another process")
    return os.getpid()


def die_first(path: str) -> str:
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)
    return "not reached"


def wait_second(task: tuple[str, int]) -> int:
    """The first task returns; the other tells its process and waits for its end."""
    folder, number = task
    if number:
        Path(folder, "starts").write_text(str(os.getpid()))
        Path(folder, "starts").rename(Path(folder, "waits"))
        signal.pause()
    return number


def wait_behind(number: int) -> int:
    """The first task returns; the others wait for their end."""
    if number:
        signal.pause()
    return number


class TestRayExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Executor:
        monkeypatch.setattr("serendip.runtime.ray_cluster._ATTEMPTS", 2)
        return nodes.executor

    def test_tasks_run_on_both_nodes(self, executor: Executor, tmp_path: Path) -> None:
        assert executor.workers == 2
        assert len({*executor.map(meet, [str(tmp_path)] * 2)}) == 2

    def test_a_task_whose_process_is_killed_runs_again(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        assert list(executor.map(die_first, [str(tmp_path / "died")])) == ["done"]

    def test_tasks_that_run_when_the_iterator_is_closed_are_ended(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        results = executor.map(wait_second, [(str(tmp_path), number) for number in range(2)])
        assert next(results) == 0
        wait_until((tmp_path / "waits").exists, "the second task")
        results.close()  # type: ignore[attr-defined]
        process = int((tmp_path / "waits").read_text())
        wait_until(lambda: not is_running(process), "its end")

    def test_all_tasks_that_are_ended_share_one_grace(
        self, executor: Executor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("serendip.runtime.ray_cluster._GRACE_S", 1.0)
        results = executor.map(wait_behind, [*range(4)])
        assert next(results) == 0
        began = time.monotonic()
        results.close()
        assert time.monotonic() - began < 2.8  # one after the other it took a second for each


def write_all(
    shop: Path, folder: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> dict[str, bytes]:
    """What the jobs of a shop write in small tasks: name -> bytes."""
    monkeypatch.setattr(recommendations, "USERS_PER_TASK", 32)
    monkeypatch.setattr(embeddings, "ROWS_PER_TASK", 32)
    monkeypatch.setattr(vector_cache, "BATCHES_PER_TASK", 4)
    options, now = TrainOptions(executor=executor, shared=folder / "tasks"), 2e9
    recommend_all(shop, Request("home", reasons=False), folder / "answers", options, now=now)
    embed(shop, "users", folder / "users", options, now=now)
    with closing(Workspace.open(shop).open_store()) as store:
        items = store.items()
    cache = VectorCache(folder / "cache", batch_size=8)
    encoded = encode_items(items, HashingEncoder(), cache, ("title", "genre"), options=options)
    assert encoded["text"].present.all()
    monkeypatch.setattr(sparse_rows, "BLOCKS_PER_TASK", 2)
    monkeypatch.setattr(pair_counts, "PAIRS_PER_BLOCK", 500)
    counts = count_pairs(build_small_world(), 4, options)
    np.save(folder / "pairs.npy", np.stack([counts.data, counts.indices]))
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_jobs_write_the_same_bytes_with_each_engine(
    nodes: Nodes, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for executor in (IN_PROCESS, LocalExecutor(2), nodes.executor):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        found.append(write_all(shop, folder, executor, monkeypatch))
    assert found[0].keys() == {"answers", "users", "hashing-1.sqlite", "pairs.npy"}
    assert found[0] == found[1] == found[2]


def test_a_training_on_two_nodes_publishes_the_bytes_of_one_process(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts of pairs are tasks, which find a relative workspace."""
    monkeypatch.setenv("SERENDIP_MODELS__RETRIEVER__EPOCHS", "1")
    monkeypatch.setattr(sparse_rows, "BLOCKS_PER_TASK", 2)
    monkeypatch.chdir(tmp_path)
    found = []
    for executor in (IN_PROCESS, nodes.executor):
        folder = import_shop(Path(executor.name), num_users=20, more=WITHOUT_SEARCHES)
        context = JobContext.open(folder, TrainOptions(executor=executor))
        found.append(read_generation(train_workspace(context).folder))
    one, two = found
    assert list(one) == list(two)
    assert [name for name in one if one[name] != two[name]] == ["manifest.json"]
    facts = [read_facts(files["manifest.json"]) for files in found]
    assert [fact.pop("engine") for fact in facts] == ["local", "ray"]
    assert facts[0] == facts[1]


def test_a_command_runs_on_the_cluster_of_its_address(
    nodes: Nodes, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(embeddings, "ROWS_PER_TASK", 32)
    found, command = [], ("embed", "users", "--workspace", str(shop))
    ray.shutdown()  # the command connects by itself
    for engine in ({}, {"NAME": "ray", "ADDRESS": nodes.cluster.address}):
        for name, value in engine.items():
            monkeypatch.setenv(f"SERENDIP_ENGINE__{name}", value)
        code, summary = invoke(*command, "--out", str(tmp_path / "users.parquet"))
        assert (code, summary["rows"]) == (0, 45)
        table = pq.read_table(tmp_path / "users.parquet")
        found.append(table.drop_columns("activity"))  # tells the days until now
    assert ray.is_initialized()
    assert found[0].equals(found[1])


def note_node(folder: str) -> None:
    import ray

    Path(folder, ray.get_runtime_context().get_node_id()).touch()


def test_each_machine_of_a_cluster_is_checked_and_what_it_raises_is_told(
    nodes: Nodes, tmp_path: Path
) -> None:
    import ray

    from serendip.runtime.ray_cluster import check_machines

    config = ExecutorConfig(name="ray", address=nodes.cluster.address)
    check_machines(config, note_node, str(tmp_path))
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    assert len(alive) == 2
    assert {path.name for path in tmp_path.iterdir()} == alive
    write_files(tmp_path)
    location = WorkspaceLocation.of(Workspace.open(tmp_path))
    check_machines(config, WorkspaceLocation.open, location)
    with pytest.raises(ConfigError, match=r"serendip\.db cannot be used by several machines"):
        check_machines(config, WorkspaceLocation.open, replace(location, machine="another"))


def wait_on_node(task: tuple[str, int]) -> int:
    """Tell that it runs, then wait for the end of the second node."""
    folder, number = task
    Path(folder, f"runs-{number}").touch()
    wait_until(Path(folder, "killed").exists, "the end of the other node")
    return number


def test_tasks_of_a_node_that_is_killed_run_again_on_another(nodes: Nodes, tmp_path: Path) -> None:
    tasks = [(str(tmp_path), number) for number in range(4)]

    def kill() -> None:
        wait_until(lambda: len([*tmp_path.glob("runs-*")]) == 2, "tasks on both nodes")
        nodes.kill_second()
        (tmp_path / "killed").touch()

    with ThreadPoolExecutor(1) as beside:
        killing = beside.submit(kill)
        assert list(nodes.executor.map(wait_on_node, tasks)) == [0, 1, 2, 3]
        killing.result()


def test_a_node_that_does_not_start_is_an_error_with_a_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serendip.runtime.ray_cluster import start_nodes

    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file" / "no-folder"))
    with pytest.raises(SerendipError, match=r"does not start on this machine.*the engine `local`"):
        start_nodes([1])


@pytest.mark.skipif(not has_ray_serve(), reason="the extra ray-serve is not installed")
class TestReplicas:
    """Services on a cluster whose Ray Serve runs for others already."""

    @pytest.fixture(scope="class")
    def port(self, nodes: Nodes) -> Iterator[int]:
        """That of Ray Serve, which has an application of others under /other."""
        from ray import serve

        port = free_port()
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        other = serve.deployment(ray_actor_options={"num_cpus": 0})(lambda request: "the other")
        serve.run(other.bind(), name="other", route_prefix="/other")
        yield port
        serve.shutdown()

    @staticmethod
    def names() -> set[str]:
        from ray import serve

        return set(serve.status().applications)

    @pytest.mark.parametrize(("host", "further"), [("0.0.0.0", 0), ("127.0.0.1", 1)])
    def test_a_service_is_not_reached_where_it_does_not_say(
        self, port: int, host: str, further: int
    ) -> None:
        from serendip.serve.ray_app import serve_until_ended

        told = rf"listens on 127\.0\.0\.1:{port} already.*`--host 127\.0\.0\.1 --port {port}`"
        with pytest.raises(ConfigError, match=rf"{told}.*keys create"):
            serve_until_ended((), 1, Path("shop"), (host, port + further), pytest.fail)
        assert self.names() == {"other"}  # those of others go on


def test_a_cluster_that_asks_for_no_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigError, match="could run code on it"):
        secure_ray("10.0.0.1:6379")


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "auto"])
def test_an_address_of_the_client_of_ray_is_refused_with_a_next_step(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_ADDRESS", "ray://10.0.0.1:10001")
    config = ExecutorConfig(name="ray", address=address)
    message = r"'ray://10\.0\.0\.1:10001'.* not supported.*`auto` or HOST:6379.*ray job"
    with pytest.raises(ConfigError, match=message):
        open_executor(config)
