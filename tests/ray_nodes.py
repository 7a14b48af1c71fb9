"""Two real nodes of a Ray cluster on this machine, one core each, for the tests of one process."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serendip.runtime.executor import Executor


class Nodes:
    """A cluster, and the executor of this process on it."""

    def __init__(self, cluster: Any, executor: Executor) -> None:
        self.cluster, self.executor = cluster, executor

    def kill_second(self) -> None:
        (node,) = self.cluster.worker_nodes
        for name, processes in node.all_processes.items():
            if name.lower() == "raylet":
                os.kill(processes[0].process.pid, signal.SIGKILL)


_TOKEN = secrets.token_hex(32)
"""Of all clusters of this process, in which Ray reads it once."""


def prepare_ray(folder: Path) -> None:
    """Let processes of Ray import what this one does, start quickly, and have its token.

    A package for the grammar of a rare format, which jsonschema imports where it is installed,
    takes a second in each of the many processes of Ray; without it nothing is missing here.
    """
    (folder / "rfc3987_syntax.py").write_text('raise ImportError("left out")\n')
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *sys.path])
    os.environ["RAY_AUTH_TOKEN"] = _TOKEN


@contextmanager
def two_nodes(folder: Path) -> Iterator[Nodes]:
    """Start two nodes whose processes import what this one does."""
    prepare_ray(folder)
    from serendip.runtime.executor import ExecutorConfig
    from serendip.runtime.executor_factory import secure_ray

    secure_ray("")
    from serendip.runtime.ray_cluster import RayExecutor, end_nodes, start_nodes

    cluster = start_nodes([1, 1])
    try:
        yield Nodes(cluster, RayExecutor(ExecutorConfig(name="ray", address=cluster.address)))
    finally:
        end_nodes(cluster)


def has_ray_serve() -> bool:
    """Whether all packages of the extra ``ray-serve`` are installed."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for requirement in project["optional-dependencies"]["ray-serve"]:
        try:
            version(re.split(r"[^\w-]", requirement)[0])
        except PackageNotFoundError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
