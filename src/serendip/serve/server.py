"""Starts the service: listens first, loads the application, drains at the end.

Connections wait in the queue of the listening socket until the engine is loaded, and are answered
then. After SIGTERM running requests finish.

``run`` serves in one process; ``serve`` is its part that each worker of a ``Supervisor`` does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from serendip.runtime.budget import parse_duration
from serendip.serve.engine_holder import EngineHolder, Follower, PublishedGenerations
from serendip.serve.http_protocol import BoundedProtocol, max_connections
from serendip.serve.limits import DRAIN_S, KEEP_ALIVE_S
from serendip.serve.server_options import LOCAL, ServerOptions
from serendip.serve.workers.shared_state import SharedState

_LAST_REQUESTS_S = 0.25
"""Seconds in which connections that were accepted before the end may still send a request."""
_HARD_END_S = DRAIN_S + 5.0
_TICKS_PER_S = 10


@contextmanager
def open_application(
    published: PublishedGenerations, options: ServerOptions, holder: EngineHolder
) -> Iterator[ASGIApp]:
    """What one process answers with, and what follows the store and the keys beside it.

    Raises:
        SerendipError: no generation could be opened, or the keys cannot be read.
    """
    from serendip.serve.access import Access
    from serendip.serve.app import build_app

    with closing(holder), ExitStack() as stack:
        follower = Follower(holder, published)
        follower.begin(time.monotonic())
        ring = stack.enter_context(closing(options.open_ring()))
        stack.enter_context(closing(follower))
        access = Access(ring, options.config.visitor_events_per_minute)
        follower.watch(follow_keys=ring.load)
        yield build_app(holder, access, options)


class _Server(uvicorn.Server):
    """Ends without a reset connection: it first accepts no more, then answers what was sent."""

    def __init__(self, app: ASGIApp, options: ServerOptions, holder: EngineHolder) -> None:
        proxies = options.believed_proxies
        bounds = parse_duration(options.config.receive_timeout), max_connections()
        super().__init__(
            uvicorn.Config(
                app,
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
        self._holder = holder

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


def _end_without_supervisor(shared: SharedState) -> None:
    """End a worker some seconds after its supervisor, if its event loop has not done so."""
    while shared.has_supervisor:
        time.sleep(1.0)
    time.sleep(_HARD_END_S)
    os._exit(1)


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
    """
    if shared is not None:
        threading.Thread(target=_end_without_supervisor, args=(shared,), daemon=True).start()
    holder = EngineHolder(shared)
    with open_application(published, options, holder) as app:
        server = _Server(app, options, holder)
        on_ready()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):  # raised again at the server's end
                signal.signal(number, server.handle_exit)
        server.run(sockets=[listener])
