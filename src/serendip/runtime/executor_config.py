"""``[engine]``: where jobs run.

It decides how fast a job is and how much memory it has, never what comes out.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from serendip.config import Config

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
