"""HTTP connections with the bounds that uvicorn leaves open.

These are: how large the head of a request may be, how long head and body may take to arrive, and
how many connections may be open. What is beyond them ends without an answer: a proxy in front says
why. The times are looked at once a second for all connections together.
"""

from __future__ import annotations

import asyncio
import math
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serendip.serve import limits
from serendip.serve.telemetry.logs import IS_GONE


def max_connections() -> int:
    """Connections that may be open at once, within what the system allows the process."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return limits.MAX_CONNECTIONS
    return max(1, min(limits.MAX_CONNECTIONS, files - limits.FILES_BESIDE))


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        receive_timeout_s: seconds in which the head of a request must arrive, and a body must begin
            to come at ``MIN_BYTES_PER_S``.
        most: number of connections that may be open; one more closes the one that is nearest to its
            end without a request that is computed, so that nobody can hold all of them.
        more: as uvicorn gives it.
    """

    def __init__(self, receive_timeout_s: float, most: int, **more: Any) -> None:
        super().__init__(**more)
        self._receive_timeout_s, self._most = receive_timeout_s, most
        self._late_at = math.inf  # while a request is computed
        self._is_in_head, self._bytes_beside_body = False, 0  # since it began, or its last part
        self._unanswered = list[RequestResponseCycle]()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, and close another one if too many are open."""
        super().connection_made(transport)
        self._late_at = self.loop.time() + limits.KEEP_ALIVE_S
        if len(self.connections) > self._most:
            others = (other for other in self.connections if isinstance(other, BoundedProtocol))
            min(others, key=lambda other: other._late_at)._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all requests that nobody waits; uvicorn tells the one that came last."""
        for cycle in self._unanswered:
            cycle.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head, or what follows a body in chunks, may have so many bytes."""
        self._bytes_beside_body += len(data)
        super().data_received(data)
        if self._bytes_beside_body > limits.MAX_HEAD_BYTES:
            self._end()

    def on_message_begin(self) -> None:
        """The first byte of a request is there."""
        super().on_message_begin()
        self._is_in_head = True
        self._late_at = self.loop.time() + self._receive_timeout_s

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is there; those after a body are dropped."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head of a request is there, in one piece perhaps with its body."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > limits.MAX_HEAD_BYTES:
            self._end()
            raise ValueError("the parser ends")  # nobody computes an answer
        self.scope["state"][IS_GONE] = self.transport.is_closing
        super().on_headers_complete()
        unanswered = [cycle for cycle in self._unanswered if not cycle.response_complete]
        self._unanswered = [*unanswered, self.cycle]
        self._is_in_head = False
        self._bytes_beside_body = 0

    def on_body(self, body: bytes) -> None:
        """A part of the body is there; one that comes after the answer earns it no more time."""
        super().on_body(body)
        self._bytes_beside_body = 0
        if not self.cycle.response_complete:
            self._late_at += len(body) / limits.MIN_BYTES_PER_S

    def on_message_complete(self) -> None:
        """The whole request is there; it may have been answered before its body was."""
        super().on_message_complete()
        self._bytes_beside_body = 0
        is_answered = self.cycle.response_complete
        self._late_at = self.loop.time() + limits.KEEP_ALIVE_S if is_answered else math.inf

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, unless some of a body is to come."""
        super().on_response_complete()
        self._late_at = min(self._late_at, self.loop.time() + limits.KEEP_ALIVE_S)

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser cannot read, unless the connection has ended."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def end_if_late(self, now: float) -> None:
        """End the connection if its client sends too slowly.

        Args:
            now: seconds of the loop's clock.
        """
        if now > self._late_at:
            self._end()

    def _end(self) -> None:
        self._late_at = math.inf
        self.transport.abort()
