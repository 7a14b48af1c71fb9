"""Opens the executor that a config names; Ray is imported for no other engine."""

from __future__ import annotations

import os
import secrets

from serendip.errors import ConfigError
from serendip.runtime.executor import Executor, ExecutorConfig, LocalExecutor
from serendip.runtime.extras import of_extra

# How long a process of a node may take to start. Ray waits for a minute, and a command whose first
# process is later than that waits for ever.
_REGISTER_S = 600
# How often Ray runs a task again that its memory monitor has ended. Of itself it does so for ever,
# and so would a task run that needs more memory than any machine has.
_MEMORY_RETRIES = 3


def open_executor(config: ExecutorConfig) -> Executor:
    """The executor of a config; a cluster of its own ends with this process.

    Raises:
        ConfigError: the cluster cannot be reached, or anyone could use it.
        ExtraMissing: the extra ``ray`` is not installed.
    """
    if config.name == "local":
        return LocalExecutor(config.workers)
    secure_ray(config.address)
    with of_extra("ray", "the engine `ray`"):
        from serendip.runtime.ray_cluster import RayExecutor
    return RayExecutor(config)


def secure_ray(address: str) -> None:
    """Set what Ray reads of the environment when it is imported.

    Who reaches a cluster that asks for no token runs code on all of its machines. A cluster of this
    machine alone listens on the loopback interface, and asks for a token that only its own
    processes have.

    Without an address it is a cluster of this machine alone.

    Raises:
        ConfigError: the cluster asks for no token, or the address is that of Ray's client, whose
            process is no part of the cluster.
    """
    asked = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address  # as Ray does
    if "://" in asked:
        raise ConfigError(
            f"the address {asked!r} is that of Ray's client, which is not supported.",
            "Run the command on a machine of the cluster, with the address `auto` or HOST:6379 "
            "(`ray start --head` prints it), or as a Ray job (`ray job submit`).",
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")  # signals stay ours
    os.environ.setdefault("RAY_task_oom_retries", str(_MEMORY_RETRIES))
    if not address:
        os.environ.setdefault("RAY_worker_register_timeout_seconds", str(_REGISTER_S))
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # loopback alone
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    elif os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        raise ConfigError(
            f"anyone who reaches the Ray cluster at {address!r} could run code on it.",
            "Start it with RAY_AUTH_MODE=token and a token, and set both here, too.",
        )
