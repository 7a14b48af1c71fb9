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
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Protocol

import uvicorn

from serendip.errors import SerendipError
from serendip.serve.engine_holder import EngineHolder, Follower, PublishedGenerations
from serendip.serve.http_protocol import BoundedProtocol, max_connections
from serendip.serve.limits import DRAIN_S, KEEP_ALIVE_S
from serendip.serve.middleware import (
    HTML_TYPE,
    App,
    ErrorResponse,
    GuardMiddleware,
    Message,
    Receive,
    Scope,
    Send,
    send_body,
    send_error,
)
from serendip.serve.server_options import LOCAL, ServerOptions
from serendip.serve.workers.shared_state import SharedState
from serendip.serve.workers.worker_channel import (
    WorkerResources,
    report_failure,
    report_ready,
    wait_for_end,
)

_LAST_REQUESTS_S = 0.25
"""Seconds in which connections that were accepted before the end may still send a request."""

_HARD_END_S = DRAIN_S + 5.0
_TICKS_PER_S = 10


class Helper(Protocol):
    """Something that works beside a service, in one of its processes."""

    def begin(self) -> None:
        """Start; returns at once."""
        ...

    def stop(self) -> None:
        """Stop, and wait for the end."""
        ...


OpenHelpers = Callable[[], list[Helper]]


class Application:
    """What one process answers with: the engine, what follows the store, the keys, the traces.

    Args:
        published: generations to serve, opened now; later ones replace earlier ones.
        options: for whom it answers.
        holder: of the engine, empty.

    Attributes:
        app: the ASGI application.

    Raises:
        SerendipError: no generation could be opened, or the keys cannot be read.
    """

    def __init__(
        self, published: PublishedGenerations, options: ServerOptions, holder: EngineHolder
    ) -> None:
        from serendip.serve.access import Access
        from serendip.serve.app import build_app

        with ExitStack() as undo:
            follower = Follower(holder, published)
            undo.callback(holder.close)
            follower.begin(time.monotonic())
            undo.callback(follower.close)
            ring = options.open_ring()
            undo.callback(ring.close)
            traces = options.open_traces()
            if traces is not None:
                undo.callback(traces.close)
            self.app = build_app(
                *(holder, Access(ring, options.limits.visitor_events_per_minute)),
                *(options.hosts, options.limits),
                logs_answers=options.logs_answers,
                traces=traces,
            )
            follower.watch()
            ring.watch()
            self._undo = undo.pop_all()

    def close(self) -> None:
        """End what runs beside the answers, and close the engine with its last request."""
        self._undo.close()


class Starter:
    """ASGI app: answers 503 while the application is loading, then delegates to it.

    While the service is ending, answers ask the client to close the connection, so that its next
    request goes to another process.

    Args:
        options: for whom it answers.
    """

    def __init__(self, options: ServerOptions = LOCAL) -> None:
        self.app: App = GuardMiddleware(_answer_while_loading, hosts=options.hosts)
        self.is_ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the application, or by the placeholder before it is loaded."""

        async def send_on(message: Message) -> None:
            if self.is_ending and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self.app(scope, receive, send_on)


class _Server(uvicorn.Server):
    """Ends without a reset connection: it first accepts no more, then answers what was sent."""

    def __init__(
        self,
        starter: Starter,
        options: ServerOptions,
        has_to_end: Callable[[], bool],
        beat: Callable[[], None],
    ) -> None:
        proxies = options.believed_proxies
        bounds = options.limits.receive_timeout_s, max_connections()
        super().__init__(
            uvicorn.Config(
                starter,
                http=partial(BoundedProtocol, *bounds),  # type: ignore[arg-type]
                ws="none",
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
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
    open_helpers: OpenHelpers = list,
) -> None:
    """Serve in this process until SIGTERM or SIGINT; return once the last request is answered.

    Args:
        published: generations to serve, opened in a thread; later ones replace earlier ones.
        options: where it listens, and for whom.
        on_ready: called with the address once the engine answers, in the loading thread.
        on_listening: called with the address once ``/health/live`` answers.
        open_helpers: called once the engine is loaded; what works beside the service.

    Raises:
        ConfigError: others may reach it and there is no key, or the port is taken.
        SerendipError: no generation could be opened.
    """
    listener = options.listen()
    address = options.format_address(listener)
    on_listening(address)
    service = _Service(published, EngineHolder(), options, lambda: on_ready(address), open_helpers)
    service.run(listener)


def run_worker(
    published: PublishedGenerations,
    resources: WorkerResources,
    options: ServerOptions = LOCAL,
    open_helpers: OpenHelpers = list,
) -> None:
    """Serve as one of several workers until SIGTERM, or until the supervisor ends.

    Args:
        published: as in ``run``.
        resources: what the supervisor left.
        options: as in ``supervise``.
        open_helpers: as in ``run``; called in one worker at a time.

    Raises:
        SystemExit: no generation could be opened; the supervisor knows why.
    """
    holder = EngineHolder(SharedState(resources.folder, resources.workers, resources.name))
    service = _Service(
        *(published, holder, options, partial(report_ready, resources.channel), open_helpers),
        has_to_end=lambda: holder.is_hung,
        beat=resources.heartbeat.beat,
    )
    threading.Thread(
        target=_end_with_supervisor, args=(resources, service), name="supervised", daemon=True
    ).start()
    try:
        service.run(resources.listener, resources.is_late)
    except SerendipError as error:
        report_failure(resources.channel, error)
        raise SystemExit(error.exit_code) from None


class _Service:
    """One process that serves."""

    def __init__(
        self,
        published: PublishedGenerations,
        holder: EngineHolder,
        options: ServerOptions,
        on_ready: Callable[[], None],
        open_helpers: OpenHelpers,
        has_to_end: Callable[[], bool] = lambda: False,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._published, self._holder, self._options = published, holder, options
        self._on_ready, self._open_helpers = on_ready, open_helpers
        self._helpers, self._lock, self._has_ended = list[Helper](), threading.Lock(), False
        self._application: Application | None = None
        self._starter = Starter(options)
        self._server = _Server(self._starter, options, has_to_end, beat)
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
                with _ignore_repeated_signals():
                    self._server.run(sockets=[listener])
        finally:
            with self._lock:
                self._has_ended = True
            for helper in self._helpers:
                helper.stop()
            if self._application is not None:
                self._application.close()
            listener.close()
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Make ``run`` return, from any thread."""
        self._server.should_exit = True

    def _load(self) -> None:
        """Import the application and open the engine before any request reaches them."""
        try:
            self._application = Application(self._published, self._options, self._holder)
        except Exception as error:  # noqa: BLE001 - the main thread raises it
            self._failure = error
            self.end()
            return
        self._starter.app = self._application.app
        self._on_ready()
        threading.Thread(target=self._help, name="helpers", daemon=True).start()

    def _help(self) -> None:
        """Begin what works beside the service, once no other process of it does so."""
        self._holder.shared.wait_for_turn()
        with self._lock:
            if self._has_ended:
                return
            self._helpers = self._open_helpers()
            for helper in self._helpers:
                helper.begin()


def _end_with_supervisor(resources: WorkerResources, service: _Service) -> None:
    """End this process soon after its supervisor, which would have removed the shared folder."""
    wait_for_end(resources.channel)
    service.end()
    shutil.rmtree(resources.folder, ignore_errors=True)
    threading.Event().wait(_HARD_END_S)
    os._exit(1)


@contextmanager
def _ignore_repeated_signals() -> Iterator[None]:
    """Ignore SIGTERM and SIGINT that the server raises again after its graceful shutdown."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


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
