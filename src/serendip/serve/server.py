"""Starts the service: listens first, loads the application, drains at the end.

Connections wait in the queue of the listening socket until the engine is loaded, and are answered
then. After SIGTERM running requests finish.

``run`` serves in one process; ``serve`` is its part that each worker of a ``Supervisor`` does.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial

import uvicorn

from serendip.serve.engine_holder import EngineHolder, Follower, PublishedGenerations
from serendip.serve.http_protocol import BoundedProtocol, max_connections
from serendip.serve.limits import DRAIN_S, KEEP_ALIVE_S
from serendip.serve.server_options import LOCAL, ServerOptions
from serendip.serve.workers.shared_state import SharedState

_LAST_REQUESTS_S = 0.25
"""Seconds in which connections that were accepted before the end may still send a request."""
_TICKS_PER_S = 10


class Application:
    """What one process answers with: the engine, what follows the store, the keys, the traces.

    Args:
        published: generations to serve, opened now; later ones replace earlier ones.
        options: for whom it answers.
        holder: of the engine, empty.

    Attributes:
        app: the ASGI application.
        holder: of the engine.

    Raises:
        SerendipError: no generation could be opened, or the keys cannot be read.
    """

    def __init__(
        self, published: PublishedGenerations, options: ServerOptions, holder: EngineHolder
    ) -> None:
        from serendip.serve.access import Access
        from serendip.serve.app import build_app

        self.holder = holder
        with ExitStack() as undo:
            follower = Follower(holder, published)
            undo.callback(holder.close)
            follower.begin(time.monotonic())
            ring = options.open_ring()
            undo.callback(ring.close)
            undo.callback(follower.close)
            traces = options.open_traces()
            if traces is not None:
                undo.callback(traces.close)
            access = Access(ring, options.visitor_events_per_minute)
            self.app = build_app(holder, access, options, traces)
            follower.watch(follow_keys=ring.load)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """End what runs beside the answers, and close the engine with its last request."""
        self._undo.close()


class _Server(uvicorn.Server):
    """Ends without a reset connection: it first accepts no more, then answers what was sent."""

    def __init__(self, application: Application, options: ServerOptions) -> None:
        proxies = options.believed_proxies
        bounds = options.receive_timeout_s, max_connections()
        super().__init__(
            uvicorn.Config(
                application.app,
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
        self._holder = application.holder

    async def on_tick(self, counter: int) -> bool:
        """Once a second say that the loop goes on, and end connections that are too slow.

        The process ends if calls hang, so that it has to be replaced, or without its supervisor.
        """
        if counter % _TICKS_PER_S == 0:
            shared = self._holder.shared
            shared.beat()
            if self._holder.is_hung() or not shared.has_supervisor:
                self.should_exit = True
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                assert isinstance(connection, BoundedProtocol)
                connection.end_if_late(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, answer what was sent, end the connections.

        Answers ask the client to close the connection, so that its next request goes to another
        process.
        """
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(_LAST_REQUESTS_S)
        await super().shutdown(sockets)


def run(
    published: PublishedGenerations,
    options: ServerOptions = LOCAL,
    on_ready: Callable[[str], None] = lambda address: None,
    on_listening: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve in this process until SIGTERM or SIGINT; return once the last request is answered.

    Args:
        published: generations to serve; later ones replace earlier ones.
        options: where it listens, and for whom.
        on_ready: called with the address once the engine answers.
        on_listening: called with the address once connections wait.

    Raises:
        ConfigError: others may reach it and there is no key, or the port is taken.
        SerendipError: no generation could be opened.
    """
    with closing(options.listen()) as listener:
        address = options.format_address(listener)
        on_listening(address)
        serve(published, options, listener, on_ready=lambda: on_ready(address))


def serve(
    published: PublishedGenerations,
    options: ServerOptions,
    listener: socket.socket,
    shared: SharedState | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve a listening socket until a signal, until calls hang, or until the supervisor ends.

    Args:
        published: as in ``run``.
        options: as in ``run``.
        listener: the socket.
        shared: state of the service; None = this is its only worker.
        on_ready: called once the engine answers.

    Raises:
        SerendipError: no generation could be opened.
    """
    application = Application(published, options, EngineHolder(shared))
    server = _Server(application, options)
    on_ready()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):  # the server raises them again at its end
            signal.signal(number, server.handle_exit)
    try:
        server.run(sockets=[listener])
    finally:
        application.close()
