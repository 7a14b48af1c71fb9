"""Replicas of a service on Ray Serve: its proxy accepts connections, and Ray replaces replicas."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.context import _get_global_client  # there is no public way to ask
from ray.serve.exceptions import RayServeException

from serendip.engine.workspace import WorkspaceLocation
from serendip.errors import ConfigError
from serendip.serve.app import open_application
from serendip.serve.engine_holder import PublishedGenerations
from serendip.serve.limits import DRAIN_S
from serendip.serve.server_options import ServerOptions

_MOST_REQUESTS = 256  # handed at once to a replica, whose gate refuses what it cannot answer
_HEALTH_S = 5.0


class Replica:
    """One replica, as Ray Serve calls it."""

    def __init__(
        self,
        location: WorkspaceLocation,
        open_parts: Callable[[Path], tuple[PublishedGenerations, ServerOptions]],
    ) -> None:
        self._open = ExitStack()
        parts = open_parts(location.open().folder)
        self._app = self._open.enter_context(open_application(*parts))

    def __serve_build_asgi_app__(self) -> Any:
        return self._app

    def check_health(self) -> None:
        """Raise an error if only another process helps."""
        self._app.gate.require_ready()

    def __del__(self) -> None:
        self._open.close()


def serve_until_ended(
    replica: tuple[Any, ...],
    replicas: int,
    folder: Path,
    address: tuple[str, int],
    on_ready: Callable[[], None],
) -> None:
    """Serve a workspace by replicas of a connected cluster until SIGTERM or SIGINT.

    Running requests are answered at the end. Other applications of a cluster go on; that of an
    earlier command for the same workspace is replaced. ``replica`` are the arguments of each
    ``Replica``; ``address`` host and port of the proxies, at the head of the cluster and on each
    machine with a replica.

    Raises:
        ConfigError: another application of the cluster answers all paths, or its proxy listens
            elsewhere or cannot listen there.
    """
    name, ended = f"serendip-{sha256(os.fsencode(folder)).hexdigest()[:8]}", threading.Event()
    deployment = serve.deployment(
        name="replica",
        num_replicas=replicas,
        max_ongoing_requests=_MOST_REQUESTS,
        graceful_shutdown_timeout_s=DRAIN_S,
        health_check_period_s=_HEALTH_S,
        ray_actor_options={"num_cpus": 1},
    )(serve.ingress()(Replica))
    try:
        serve.start(http_options={"host": address[0], "port": address[1]})
        proxy = _get_global_client().http_config
        # Who reaches the proxy reaches the service: whether a key is needed depends on it.
        if (proxy.host, proxy.port) != address:
            raise ConfigError(
                f"Ray Serve of the cluster listens on {proxy.host}:{proxy.port} already.",
                f"Give `--host {proxy.host} --port {proxy.port}`; where others reach that, create "
                "a key first with `serendip keys create`.",
            )
        serve.run(deployment.bind(*replica), name=name)
        for number in (signal.SIGTERM, signal.SIGINT):  # Ray has handlers of its own until here
            signal.signal(number, lambda *_: ended.set())
        on_ready()
        ended.wait()
    except (RayError, RayServeException, TimeoutError) as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        raise ConfigError(
            f"Ray Serve cannot serve {folder.name} on {address[0]}:{address[1]}: {cause}",
            "A cluster serves one workspace, on a port that is free on its machines.",
        ) from None
    finally:
        if _get_global_client(raise_if_no_controller_running=False) is not None:
            serve.delete(name)
            if not serve.status().applications:
                serve.shutdown()  # it would hold its port for as long as there is the cluster
