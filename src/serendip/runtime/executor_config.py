"""``[engine]``: where jobs run.

It decides how fast a job is and how much memory it has, never what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from serendip.config import Config, validate

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
