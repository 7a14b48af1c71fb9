"""Starts the service: listens first, loads the application in a thread, drains at the end.

The socket listens and ``/health/live`` answers before the framework or the engine is imported. A
thread loads both and then assigns the application. After SIGTERM running requests finish.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import uvicorn

from serendip.serve.engine_holder import EngineHolder
from serendip.serve.generation_watch import Follower, PublishedGenerations
from serendip.serve.middleware import (
    App,
    ErrorResponse,
    GuardMiddleware,
    Receive,
    Scope,
    Send,
    send_body,
    send_error,
)
from serendip.serve.socket import format_address, ignore_repeated_signals, listen

_DRAIN_S = 10
_KEEP_ALIVE_S = 75


class Starter:
    """ASGI app: answers 503 while the application is loading, then delegates to it."""

    def __init__(self) -> None:
        self._early: App = GuardMiddleware(_answer_while_loading)
        self.app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the application, or by the placeholder before it is loaded."""
        if scope["type"] == "lifespan":
            await _complete_lifespan(receive, send)
            return
        await (self.app or self._early)(scope, receive, send)


def run(
    published: PublishedGenerations,
    host: str = "127.0.0.1",
    port: int = 8000,
    on_ready: Callable[[str], None] = lambda address: None,
    on_listening: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGTERM or SIGINT; return once the last request is answered.

    Args:
        published: generations to serve, opened in a thread; later ones replace earlier ones.
        host: a loopback name or address.
        port: 0 = any free one.
        on_ready: called with the address once the engine answers, in the loading thread.
        on_listening: called with the address once ``/health/live`` answers.

    Raises:
        ConfigError: the host is not a loopback address, or the port is taken.
        SerendipError: no generation could be opened.
    """
    listener = listen(host, port)
    on_listening(format_address(listener, host))
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
            _load_app(starter, holder, follower)
        except Exception as error:  # noqa: BLE001 - the main thread raises it
            failures.append(error)
            server.should_exit = True
            return
        follower.watch()
        on_ready(format_address(listener, host))

    loader = threading.Thread(target=load, name="loader", daemon=True)
    loader.start()
    try:
        with ignore_repeated_signals():
            server.run(sockets=[listener])
    finally:
        follower.close()
        holder.close()
        listener.close()
    if failures:
        raise failures[0]


def _load_app(starter: Starter, holder: EngineHolder, follower: Follower) -> None:
    """Import the application and open the engine before any request reaches them."""
    from serendip.serve.app import build_app

    app = build_app(holder)
    follower.begin(time.monotonic())
    starter.app = app


async def _answer_while_loading(scope: Scope, receive: Receive, send: Send) -> None:
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
    await send_error(scope, send, failure)


async def _complete_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
