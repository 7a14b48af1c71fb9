"""Starts the service: listen first, load behind it, drain at the end.

The socket listens and ``/health/live`` answers before the framework or the engine is imported;
a thread brings both up, and one assignment puts them in front. SIGTERM lets running requests end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import uvicorn

from serendip.serve.engine_holder import EngineHolder
from serendip.serve.generation_watch import Follower, Published
from serendip.serve.middleware import (
    App,
    ErrorResponse,
    GuardMiddleware,
    Receive,
    Scope,
    Send,
    send_body,
    send_failure,
)
from serendip.serve.socket import address_of, listen, signals_end_quietly

_DRAIN_S = 10
_KEEP_ALIVE_S = 75


class Starter:
    """Answers while the application is being loaded, and hands over to it from then on."""

    def __init__(self) -> None:
        self._early: App = GuardMiddleware(_loading)
        self.app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to whatever answers by now."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        await (self.app or self._early)(scope, receive, send)


def run(
    published: Published,
    host: str = "127.0.0.1",
    port: int = 8000,
    on_ready: Callable[[str], None] = lambda address: None,
    on_listening: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGTERM or SIGINT; returns when the last request is answered.

    Args:
        published: opens the published generation, in a thread, and each one published later.
        host: a loopback name or address.
        port: 0 for any free one.
        on_ready: told the address once the engine answers, in the loading thread.
        on_listening: told the address as soon as ``/health/live`` can be asked.

    Raises:
        ConfigError: the host is not this machine's own, or the port is taken.
        SerendipError: no generation could be opened.
    """
    listener = listen(host, port)
    on_listening(address_of(listener, host))
    holder, starter = EngineHolder(), Starter()
    follower = Follower(holder, published)
    config = uvicorn.Config(
        starter,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    server = uvicorn.Server(config)
    failures: list[Exception] = []

    def load() -> None:
        try:
            _bring_up(starter, holder, follower)
        except Exception as error:  # noqa: BLE001 - handed to the main thread, which raises it
            failures.append(error)
            server.should_exit = True
            return
        follower.watch()
        on_ready(address_of(listener, host))

    loader = threading.Thread(target=load, name="loader", daemon=True)
    loader.start()
    try:
        with signals_end_quietly():
            server.run(sockets=[listener])
    finally:
        follower.close()
        holder.close()
        listener.close()
    if failures:
        raise failures[0]


def _bring_up(starter: Starter, holder: EngineHolder, follower: Follower) -> None:
    """Import the application, open the engine, and only then let requests in."""
    from serendip.serve.app import build_app

    app = build_app(holder)
    follower.begin(time.monotonic())
    starter.app = app


async def _loading(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/health/live":
        await send_body(send, 200, b'{"status":"live"}')
        return
    failure = ErrorResponse(
        503,
        "loading",
        "the service is still loading.",
        "Try again in a moment; /health/ready says when.",
        ((b"retry-after", b"1"),),
    )
    await send_failure(scope, send, failure)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
