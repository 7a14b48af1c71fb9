"""Serves a listening socket: accepts connections, bounds them, and drains them at the end.

Connections wait in the queue of the socket until the engine is loaded. After SIGTERM running
requests finish. What is beyond the bounds that uvicorn leaves open - the size of a head, the time
until a request is there, the number of connections - ends without an answer: a proxy says why.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serendip.runtime.budget import parse_duration
from serendip.serve import limits
from serendip.serve.engine_holder import PublishedGenerations
from serendip.serve.gate import EngineGate
from serendip.serve.logs import IS_GONE
from serendip.serve.server_options import ServerOptions
from serendip.serve.shared_state import SharedState

_LAST_REQUESTS_S = 0.25  # in which accepted connections may still send a request at the end
_OTHERS_FIRST_S = 0.002  # for which a worker leaves a new connection to those that have fewer
_HARD_END_S = limits.DRAIN_S + 5.0
_TICKS_PER_S = 10


def serve(
    published: PublishedGenerations,
    options: ServerOptions,
    listener: socket.socket,
    shared: SharedState | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve the socket of ``options.listen`` until a signal, until calls hang, or until the
    supervisor ends; the last request is answered then.

    ``shared`` is the state of a service of several workers. ``on_ready`` is called once the engine
    answers; a ``SerendipError`` says that no generation could be opened.
    """
    from serendip.serve.app import open_application

    if shared is not None:
        threading.Thread(target=_end_without_supervisor, args=(shared,), daemon=True).start()
    with open_application(published, options, shared) as app:
        server = _Server(app, app.gate)
        on_ready()
        for number in (signal.SIGTERM, signal.SIGINT):  # raised again at the server's end
            signal.signal(number, server.handle_exit)
        server.run(sockets=[listener])


def _end_without_supervisor(shared: SharedState) -> None:
    # If its event loop has not done so.
    while shared.has_supervisor:
        time.sleep(1.0)
    time.sleep(_HARD_END_S)
    os._exit(1)


class _Server(uvicorn.Server):
    def __init__(self, app: ASGIApp, gate: EngineGate) -> None:
        proxies = gate.options.believed_proxies
        config = uvicorn.Config(
            app,
            ws="none",
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=limits.KEEP_ALIVE_S,
            timeout_graceful_shutdown=limits.DRAIN_S,
        )
        super().__init__(config)
        self._receive_timeout_s = parse_duration(gate.options.config.receive_timeout)
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = limits.MAX_CONNECTIONS
        if files != resource.RLIM_INFINITY:
            most = max(1, min(most, files - limits.FILES_BESIDE))
        self._gate, self._shared, self._most = gate, gate.holder.shared, most
        self._connecting = set[asyncio.Task[object]]()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # One connection at a time: uvicorn takes all that wait, so that other workers are idle.
        self.started, self.servers = True, []
        for listener in sockets or []:
            listener.setblocking(False)
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket, is_late: bool = False) -> None:
        loop, shared = asyncio.get_running_loop(), self._shared
        if is_late:
            if listener.fileno() < 0:  # closed in between
                return
            loop.add_reader(listener, self._accept, listener)
        elif shared.has_more_connections:
            self._pause(listener)
            return
        try:
            accepted, _ = listener.accept()
        except BlockingIOError:  # another worker was first
            return
        except OSError:  # no file is free
            self._pause(listener)
            return
        shared.connections[shared.place] += 1
        accepted.setblocking(False)
        task = loop.create_task(loop.connect_accepted_socket(self._connect, accepted))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _pause(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(_OTHERS_FIRST_S, self._accept, listener, True)

    def _connect(self) -> _Connection:
        more = {"config": self.config, "server_state": self.server_state, "app_state": {}}
        return _Connection(self._receive_timeout_s, self._most, **more)

    async def on_tick(self, counter: int) -> bool:
        """Once a second say that the loop goes on, and end connections that are too slow; end the
        process if calls hang, so that it has to be replaced, or without its supervisor.
        """
        shared, connections = self._shared, list(self.server_state.connections)
        shared.connections[shared.place] = len(connections)
        if counter % _TICKS_PER_S == 0:
            shared.beat()
            if self._gate.is_hung() or not shared.has_supervisor:
                self.should_exit = True
            now = asyncio.get_running_loop().time()
            for connection in connections:
                assert isinstance(connection, _Connection)
                connection.end_if_late(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, answer what was sent, end the connections without a reset.

        Answers ask clients to close theirs, so that the next request goes to another process.
        """
        for listener in sockets or []:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        self._shared.connections[self._shared.place] = limits.MAX_CONNECTIONS  # no one waits for it
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(_LAST_REQUESTS_S)
        await super().shutdown(sockets)


class _Connection(HttpToolsProtocol):
    # What takes too long is looked for once a second: the head of a request, and a body that does
    # not come at ``MIN_BYTES_PER_S``. Where more than ``most`` are open, the one that is nearest to
    # its end without a request that is computed closes: nobody can hold all of them.

    def __init__(self, receive_timeout_s: float, most: int, **more: Any) -> None:
        super().__init__(**more)
        self._receive_timeout_s, self._most = receive_timeout_s, most
        self._late_at = math.inf  # while a request is computed
        self._is_in_head, self._bytes_beside_body = False, 0  # since it began, or its last part
        self._unanswered = list[RequestResponseCycle]()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late_at = self.loop.time() + limits.KEEP_ALIVE_S
        if len(self.connections) > self._most:
            others = (other for other in self.connections if isinstance(other, _Connection))
            min(others, key=lambda other: other._late_at)._end()

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in self._unanswered:  # uvicorn tells the one that came last
            cycle.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bytes_beside_body += len(data)
        super().data_received(data)
        if self._bytes_beside_body > limits.MAX_HEAD_BYTES:
            self._end()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True
        self._late_at = self.loop.time() + self._receive_timeout_s

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # those after a body are dropped
            super().on_header(name, value)

    def on_headers_complete(self) -> None:  # of a head in one piece perhaps with its body
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > limits.MAX_HEAD_BYTES:
            self._end()
            raise ValueError("the parser ends")  # nobody computes an answer
        self.scope["state"][IS_GONE] = self.transport.is_closing
        super().on_headers_complete()
        unanswered = [cycle for cycle in self._unanswered if not cycle.response_complete]
        self._unanswered = [*unanswered, self.cycle]
        self._is_in_head, self._bytes_beside_body = False, 0

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._bytes_beside_body = 0
        if not self.cycle.response_complete:  # what comes after the answer earns no more time
            self._late_at += len(body) / limits.MIN_BYTES_PER_S

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._bytes_beside_body = 0
        is_answered = self.cycle.response_complete  # perhaps before its body was there
        self._late_at = self.loop.time() + limits.KEEP_ALIVE_S if is_answered else math.inf

    def on_response_complete(self) -> None:  # though some of a body may be to come
        super().on_response_complete()
        self._late_at = min(self._late_at, self.loop.time() + limits.KEEP_ALIVE_S)

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def end_if_late(self, now: float) -> None:
        if now > self._late_at:
            self._end()

    def _end(self) -> None:
        self._late_at = math.inf
        self.transport.abort()
