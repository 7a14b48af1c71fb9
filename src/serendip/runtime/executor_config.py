"""``[engine]``: where jobs run, and the executor of it; Ray is imported for no other engine.

It decides how fast a job is and how much memory it has, never what comes out.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from serendip.config import Config, validate
from serendip.errors import ConfigError
from serendip.runtime.executor import Executor, LocalExecutor
from serendip.runtime.extras import of_extra

EngineName = Literal["local", "ray"]


class ExecutorConfig(Config):
    """``[engine]``: where jobs run. Results do not depend on it."""

    name: EngineName = "local"
    """`local` = processes of this machine; `ray` = a Ray cluster, with the extra `ray`."""

    workers: int | None = Field(default=None, ge=1)
    """Largest number of processes at once. None = two where this machine has two cores, and with
    `ray` one for each core of the cluster."""

    address: str = ""
    """With `ray`: address of the cluster, `auto` on one of its machines or `HOST:6379`. All
    machines see the workspace under the same path. Ray's client (`ray://`) is not supported: run
    the command on a machine of the cluster, or as a Ray job. Empty = a cluster of this machine
    alone, which nobody else reaches, for as long as the command runs."""

    @model_validator(mode="after")
    def _only_clusters_have_addresses(self) -> Self:
        if self.name == "local" and self.address:
            raise ValueError('`address` is for `name = "ray"`')
        return self


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What a command was told about where to run; None = as the settings say.

    Args:
        name: of the engine.
        address: of the cluster.
    """

    name: str | None = None
    address: str | None = None

    def apply(self, config: ExecutorConfig) -> ExecutorConfig:
        """The settings with what was told.

        Raises:
            ConfigError: there is no such engine, or it has no address.
        """
        told: dict[str, Any] = {"name": self.name, "address": self.address}
        told = {key: value for key, value in told.items() if value is not None}
        before = config.model_dump(exclude_unset=True)
        if told.get("name") == "local":
            before = {key: before[key] for key in ("workers",) if key in before}
        return validate(ExecutorConfig, {**before, **told}, "--engine") if told else config


_REGISTER_S = 600
"""How long a process of a node may take to start. Ray waits for a minute, and a command whose first
process is later than that waits for ever."""

_MEMORY_RETRIES = 3
"""How often Ray runs a task again that its memory monitor has ended. Of itself it does so for ever,
and so would a task run that needs more memory than any machine has."""


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

    Args:
        address: of the cluster; empty = one of this machine alone.

    Raises:
        ConfigError: the cluster asks for no token, or the address is that of Ray's client, whose
            process is no part of the cluster.
    """
    asked = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address  # as Ray does
    if "://" in asked:
        raise ConfigError(
            f"the address {asked!r} is that of Ray's client, which is not supported.",
            "Run the command on a machine of the cluster, with `--address auto` or HOST:6379 "
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
