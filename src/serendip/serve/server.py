"""Starts the service: listens first, loads the application in a thread, drains at the end.

The socket listens and ``/health/live`` answers before the framework or the engine is imported. A
thread loads both and then assigns the application. After SIGTERM running requests finish.

``run`` serves in one process; ``run_worker`` is the same as one of several processes that a
``Supervisor`` started.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import uvicorn

from serendip.errors import SerendipError
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.generation_watch import Follower, PublishedGenerations
from serendip.serve.http_protocol import BoundedProtocol, max_connections
from serendip.serve.limits import DRAIN_S, KEEP_ALIVE_S
from serendip.serve.middleware import (
    HTML_TYPE,
    LOOPBACK_HOSTS,
    App,
    ErrorResponse,
    GuardMiddleware,
    HostRules,
    Message,
    Receive,
    Scope,
    Send,
    send_body,
    send_error,
)
from serendip.serve.rate_limits import RateLimits
from serendip.serve.server_options import LOCAL, ServerOptions
from serendip.serve.socket import format_address, ignore_repeated_signals
from serendip.serve.workers.shared_state import SharedState
from serendip.serve.workers.worker_channel import WorkerResources

if TYPE_CHECKING:
    from serendip.serve.key_ring import KeyRing
    from serendip.serve.telemetry.traces import Traces

_LAST_REQUESTS_S = 0.25
"""Seconds in which connections that were accepted before the end may still send a request."""

_HARD_END_S = DRAIN_S + 5.0
_TICKS_PER_S = 10


class Helper(Protocol):
    """Something that works beside a service."""

    def begin(self) -> None:
        """Start; returns at once."""
        ...

    def stop(self) -> None:
        """Stop, and wait for the end."""
        ...


class _NoHelper:
    def begin(self) -> None:
        """Start nothing."""

    def stop(self) -> None:
        """Stop nothing."""


class Starter:
    """ASGI app: answers 503 while the application is loading, then delegates to it.

    While the service is ending, answers ask the client to close the connection, so that its next
    request goes to another process.
    """

    def __init__(self, hosts: HostRules = LOOPBACK_HOSTS) -> None:
        self._early: App = GuardMiddleware(_answer_while_loading, hosts=hosts)
        self.app: GuardMiddleware | None = None
        self.is_ending = False

    def turn_away(self, path: str) -> bool:
        """Whether a GET is refused before the application sees it; see ``GuardMiddleware``."""
        return self.app is not None and not self.is_ending and self.app.turn_away(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the application, or by the placeholder before it is loaded."""
        if scope["type"] == "lifespan":
            await _complete_lifespan(receive, send)
            return

        async def send_on(message: Message) -> None:
            if self.is_ending and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await (self.app or self._early)(scope, receive, send_on)


class _Server(uvicorn.Server):
    """Ends without a reset connection: it first accepts no more, then answers what was sent."""

    def __init__(
        self,
        starter: Starter,
        trusted_proxies: Sequence[str],
        receive_timeout_s: float,
        has_to_end: Callable[[], bool],
        beat: Callable[[], None],
    ) -> None:
        protocol = partial(BoundedProtocol, receive_timeout_s, max_connections(), starter.turn_away)
        super().__init__(
            uvicorn.Config(
                starter,
                http=protocol,  # type: ignore[arg-type]
                ws="none",
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=list(trusted_proxies),
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=DRAIN_S,
            )
        )
        self._starter, self._has_to_end, self._beat = starter, has_to_end, beat

    async def on_tick(self, counter: int) -> bool:
        """Beat, and end the connections that wait for their client for too long, once a second.

        All of them, if the process has to end.
        """
        if counter % _TICKS_PER_S == 0:
            self._beat()
            if self._has_to_end():
                self.should_exit = True
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                assert isinstance(connection, BoundedProtocol)
                connection.end_if_late(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, answer what was sent, end the connections."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        self._starter.is_ending = True
        await asyncio.sleep(_LAST_REQUESTS_S)
        await super().shutdown(sockets)


def run(
    published: PublishedGenerations,
    options: ServerOptions = LOCAL,
    on_ready: Callable[[str], None] = lambda address: None,
    on_listening: Callable[[str], None] = lambda address: None,
    open_helper: Callable[[], Helper] = _NoHelper,
) -> None:
    """Serve in this process until SIGTERM or SIGINT; return once the last request is answered.

    Args:
        published: generations to serve, opened in a thread; later ones replace earlier ones.
        options: where it listens, and for whom.
        on_ready: called with the address once the engine answers, in the loading thread.
        on_listening: called with the address once ``/health/live`` answers.
        open_helper: called once the engine is loaded; what works beside the service.

    Raises:
        ConfigError: others may reach it and there is no key, or the port is taken.
        SerendipError: no generation could be opened.
    """
    listener = options.listen()
    address = format_address(listener, options.host)
    on_listening(address)
    holder = EngineHolder()
    service = _Service(published, holder, options, lambda: on_ready(address), open_helper)
    service.run(listener)


def run_worker(
    published: PublishedGenerations,
    resources: WorkerResources,
    options: ServerOptions = LOCAL,
    open_helper: Callable[[], Helper] = _NoHelper,
) -> None:
    """Serve as one of several workers until SIGTERM, or until the supervisor ends.

    Args:
        published: as in ``run``.
        resources: what the supervisor left.
        options: as in ``supervise``.
        open_helper: as in ``run``.

    Raises:
        SystemExit: no generation could be opened; the supervisor knows why.
    """
    holder = EngineHolder(SharedState(resources.folder, resources.workers, resources.name))
    service = _Service(
        *(published, holder, options, resources.channel.report_ready, open_helper),
        has_to_end=lambda: holder.is_hung,
        beat=resources.heartbeat.beat,
    )
    threading.Thread(
        target=_end_with_supervisor, args=(resources, service), name="supervised", daemon=True
    ).start()
    try:
        service.run(resources.listener, resources.is_late)
    except SerendipError as error:
        resources.channel.report_failure(error)
        raise SystemExit(error.exit_code) from None


class _Service:
    """One process that serves.

    Args:
        published: the generations to serve.
        holder: of the engine.
        options: for whom it answers.
        on_ready: called once the engine answers.
        open_helper: called then, too.
        has_to_end: asked once a second; whether somebody else is to serve in place of this process.
        beat: called once a second by the event loop.
    """

    def __init__(
        self,
        published: PublishedGenerations,
        holder: EngineHolder,
        options: ServerOptions,
        on_ready: Callable[[], None],
        open_helper: Callable[[], Helper],
        has_to_end: Callable[[], bool] = lambda: False,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._holder, self._on_ready = holder, on_ready
        self._open_helper = open_helper
        self._helper: Helper = _NoHelper()
        self._follower = Follower(holder, published)
        self._options = options
        self._ring: KeyRing | None = None
        self._traces: Traces | None = None
        self._starter = Starter(options.hosts)
        self._server = _Server(
            *(self._starter, options.believed_proxies, options.limits.receive_timeout_s),
            has_to_end,
            beat,
        )
        self._failure: Exception | None = None

    def run(self, listener: socket.socket, is_late: bool = False) -> None:
        """Serve until a signal, or ``end``.

        Args:
            listener: the listening socket; closed at the end.
            is_late: whether to load before the first connection is accepted.

        Raises:
            SerendipError: no generation could be opened.
        """
        loader = threading.Thread(target=self._load, name="loader", daemon=True)
        loader.start()
        try:
            if is_late:
                loader.join()
            if self._failure is None:
                with ignore_repeated_signals():
                    self._server.run(sockets=[listener])
        finally:
            self._helper.stop()
            self._follower.close()
            self._holder.close()
            if self._ring is not None:
                self._ring.close()
            if self._traces is not None:
                self._traces.close()
            listener.close()
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Make ``run`` return, from any thread."""
        self._server.should_exit = True

    def _load(self) -> None:
        """Import the application and open the engine before any request reaches them."""
        try:
            from serendip.serve.access import Access
            from serendip.serve.app import build_app

            self._follower.begin(time.monotonic())
            self._ring = self._options.open_ring()
            options, limits = self._options, self._options.limits
            self._traces = options.open_traces()
            access = Access(self._ring, RateLimits(limits.requests_per_minute))
            app = build_app(
                *(self._holder, access, options.hosts, limits),
                logs_answers=options.logs_answers,
                traces=self._traces,
            )
        except Exception as error:  # noqa: BLE001 - the main thread raises it
            self._failure = error
            self.end()
            return
        self._starter.app = app
        self._follower.watch()
        self._ring.watch()
        self._helper = self._open_helper()
        self._helper.begin()
        self._on_ready()


def _end_with_supervisor(resources: WorkerResources, service: _Service) -> None:
    """End this process soon after its supervisor, which would have removed the shared folder."""
    resources.channel.wait_for_end()
    service.end()
    shutil.rmtree(resources.folder, ignore_errors=True)
    threading.Event().wait(_HARD_END_S)
    os._exit(1)


_LOADING_PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<title>Serendip</title></head>
<body><p>The service is still loading; this page looks again by itself.</p>
</body></html>
"""


async def _answer_while_loading(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/health/live":
        await send_body(send, 200, b'{"status":"live"}')
        return
    if scope["method"] == "GET" and b"text/html" in dict(scope["headers"]).get(b"accept", b""):
        retry = ((b"retry-after", b"1"), (b"cache-control", b"no-store"))
        await send_body(send, 503, _LOADING_PAGE, retry, HTML_TYPE)
        return
    failure = ErrorResponse(
        503,
        "loading",
        "the service is still loading.",
        "Try again in a moment; /health/ready says when.",
        ((b"retry-after", b"1"),),
    )
    await send_error(scope, send, failure)


async def _complete_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
