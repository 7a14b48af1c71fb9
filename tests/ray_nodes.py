"""Two real nodes of a Ray cluster on this machine, one core each, for the tests of one process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serendip.runtime.executor import Executor


class Nodes:
    """A cluster, and the executor of this process on it.

    Attributes:
        cluster: of ``ray.cluster_utils``.
        executor: its two cores.
    """

    def __init__(self, cluster: Any, executor: Executor) -> None:
        self.cluster, self.executor = cluster, executor

    def pid_of_raylet(self, node: Any) -> int:
        """Process of a node."""
        from ray._private.ray_constants import PROCESS_TYPE_RAYLET

        return int(node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid)


@contextmanager
def two_nodes(folder: Path) -> Iterator[Nodes]:
    """Start two nodes whose processes import what this one does.

    Args:
        folder: an empty one.
    """
    # A package for the grammar of a rare format, which jsonschema imports where it is installed,
    # takes a second in each of the many processes; without it nothing is missing here.
    (folder / "rfc3987_syntax.py").write_text('raise ImportError("left out")\n')
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *sys.path])
    from serendip.runtime.executor_config import ExecutorConfig, secure_ray

    secure_ray("")
    import ray

    from serendip.runtime.ray_cluster import RayExecutor, start_nodes

    cluster = start_nodes([1, 1])
    try:
        yield Nodes(cluster, RayExecutor(ExecutorConfig(name="ray", address=cluster.address)))
    finally:
        ray.shutdown()
        cluster.shutdown()
