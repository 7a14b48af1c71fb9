"""Ray: an executor whose processes may be on other machines. Nothing else imports Ray.

A task is a Ray task. Ray starts it again, on another machine if need be, when its process or its
machine is lost; results that were lost with a machine are computed again. What a task was given
and its results go through Ray's object store, which spills to disk what does not fit into memory.

Ray has a dashboard and an interface for jobs, neither of which is started here.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, TypeVar

import ray
from ray.cluster_utils import Cluster
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from serendip.errors import ConfigError, SerendipError
from serendip.runtime.executor import (
    Executor,
    ExecutorConfig,
    LocalExecutor,
    count_cores,
    killed,
    set_malloc,
)
from serendip.runtime.threads import limit_threads

_log = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")

OLDEST = (2, 54)  # the first version of Ray that checks tokens everywhere
_ATTEMPTS = 4  # how often a task is begun at most
# How long all tasks that are cancelled together may take to finish before they are ended. Ray 2.60
# aborts the process that cancels a task in the instant in which the task completes, so what is
# about to complete is let complete.
_GRACE_S = 0.5
_STORE_BYTES = 256 << 20  # of a cluster of this machine alone; what does not fit is spilt to disk
_LOOPBACK = "127.0.0.1"
_PORTS = (
    *("metrics_agent_port", "dashboard_agent_listen_port"),
    *("runtime_env_agent_port", "metrics_export_port"),
)


def connect(config: ExecutorConfig) -> None:
    """Connect this process to a cluster once, or start one of this machine alone.

    Raises:
        ConfigError: there is no cluster at the address, or Ray is too old.
    """
    version = tuple(map(int, ray.__version__.split(".")[:2]))
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigError(f"Ray {ray.__version__} is too old.", f"Install {oldest} or later.")
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = config.address or start_nodes([config.workers or count_cores()]).address
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RayError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"there is no Ray cluster at {config.address!r}: {error}.",
            "Start one with `ray start --head`, and give the same token here.",
        ) from None


def start_nodes(cores: Sequence[int]) -> Cluster:
    """Start a cluster on this machine that ends with this process: a node for each entry.

    It has no dashboard and listens on the loopback interface (``executor_factory.secure_ray``).

    Tasks do not heed what cores there really are.

    Raises:
        SerendipError: a node does not start.
    """
    set_malloc()
    cluster = Cluster(shutdown_at_exit=True)
    try:
        for count in cores:
            add_node(cluster, count)
    except Exception as error:  # noqa: BLE001  # Ray has no class for it
        raise SerendipError(
            f"Ray does not start on this machine: {error}",
            "A node has fifteen seconds to start, which a busy machine exceeds: run the command "
            "again when it is less busy, or on the engine `local`.",
        ) from None
    return cluster


def add_node(cluster: Cluster, cores: int) -> Any:
    """Start one more node; returns it."""
    is_first = cluster.head_node is None
    # A node waits fifteen seconds at most for ports that it did not choose, and then dies: on a
    # busy machine they come later.
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in _PORTS]
        for one in sockets:
            one.bind((_LOOPBACK, 0))
        ports = {name: one.getsockname()[1] for name, one in zip(_PORTS, sockets, strict=True)}
    first: dict[str, Any] = {"include_dashboard": False, "no_monitor": True} if is_first else {}
    return cluster.add_node(
        num_cpus=cores,
        object_store_memory=_STORE_BYTES,
        node_ip_address=_LOOPBACK,
        include_log_monitor=False,
        **ports,
        **first,
    )


def end_nodes(cluster: Cluster) -> None:
    """Disconnect this process, and end a cluster that it started."""
    ray.shutdown()
    cluster.shutdown()


def check_machines(config: ExecutorConfig, check: Callable[[Task], object], task: Task) -> None:
    """Call a function on each machine of a cluster that has cores for others.

    A machine that has just died, which a cluster notices late, is left out.

    Raises:
        Exception: what it raised on one of them.
    """
    connect(config)
    checks = []
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            run = ray.remote(_run).options(num_cpus=0, scheduling_strategy=there)
            checks.append((node["NodeManagerHostname"], run.remote(check, task)))
    for name, checked in checks:
        try:
            ray.get(checked)
        except RayTaskError as error:
            raise _explain(error, "the check of a machine") from None
        except RayError as error:
            _log.warning("machine %s of the cluster did not answer: %s", name, error)


class RayExecutor(Executor):
    """Runs tasks on a Ray cluster, one core and one numeric thread each.

    Attributes:
        workers: tasks at once; the cores of the cluster if the config has no number.
    """

    name = "ray"

    def __init__(self, config: ExecutorConfig) -> None:
        connect(config)
        cores = int(ray.cluster_resources().get("CPU", 1))
        self.workers = config.workers or max(1, cores)
        self._options: dict[str, Any] = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalExecutor, (1,)  # tasks that wait for others could fill all cores

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See ``Executor.map``; tasks that run when the iterator is closed are ended."""
        run = ray.remote(_run).options(max_retries=_ATTEMPTS - 1, **self._options)
        left, pending = iter(tasks), deque[tuple[Task, Any]]()
        try:
            while True:
                for task in islice(left, 2 * self.workers - len(pending)):
                    pending.append((task, run.remote(work, task)))
                if not pending:
                    return
                try:
                    result: Result = ray.get(pending[0][1])
                except RayError as error:
                    raise _explain(error, str(pending[0][0])) from None
                pending.popleft()
                yield result
        finally:
            _end([ref for _, ref in pending])


def _end(refs: Sequence[Any]) -> None:
    if refs:
        for ref in ray.wait(list(refs), num_returns=len(refs), timeout=_GRACE_S)[1]:
            ray.cancel(ref, force=True)


def _run(work: Callable[[Any], Any], task: Any) -> Any:
    limit_threads(1)
    return work(task)


def _explain(error: RayError, name: str) -> Exception:
    if not isinstance(error, RayTaskError):
        return killed(name)
    cause = error.cause
    if not isinstance(cause, Exception):  # it cannot be sent
        return SerendipError(f"{name} failed: {error}")
    cause.add_note(str(error))
    return cause
