"""HTTP connections with the bounds that uvicorn leaves open.

These are: how large the head of a request may be, how long head and body may take to arrive, and
how many connections may be open. The times are looked at once a second for all connections
together, which costs a request nothing.
"""

from __future__ import annotations

import asyncio
import math
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

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
        self._is_in_head = self._is_in_body = False  # of the request that is being read
        self._bytes_beside_body = 0  # since the request began, or the last part of its body
        self._unanswered = list[RequestResponseCycle]()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, and close another one if too many are open."""
        super().connection_made(transport)
        self._late_at = self.loop.time() + limits.KEEP_ALIVE_S
        if len(self.connections) > self._most:
            others = (other for other in self.connections if isinstance(other, BoundedProtocol))
            first = min(others, key=lambda other: other._late_at)
            first._late_at = math.inf
            first.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all requests that nobody waits; uvicorn tells the one that came last."""
        for cycle in self._unanswered:
            cycle.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse a head that is too large before it is complete.

        The same bound holds for what follows a body in chunks.
        """
        self._bytes_beside_body += len(data)
        super().data_received(data)
        if self._bytes_beside_body > limits.MAX_HEAD_BYTES:
            self._end(431)

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
        """The head of a request is there."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > limits.MAX_HEAD_BYTES:
            self._end(431)
            raise ValueError("the parser ends")
        self.scope["state"][IS_GONE] = self.transport.is_closing
        super().on_headers_complete()
        unanswered = [cycle for cycle in self._unanswered if not cycle.response_complete]
        self._unanswered = [*unanswered, self.cycle]
        self._is_in_head, self._is_in_body, self._bytes_beside_body = False, True, 0

    def on_body(self, body: bytes) -> None:
        """A part of the body is there; one that comes after the answer earns it no more time."""
        super().on_body(body)
        self._bytes_beside_body = 0
        if not self.cycle.response_complete:
            self._late_at += len(body) / limits.MIN_BYTES_PER_S

    def on_message_complete(self) -> None:
        """The whole request is there; it may have been answered before its body was."""
        super().on_message_complete()
        self._is_in_body, self._bytes_beside_body, self._late_at = False, 0, math.inf
        self._wait_for_next()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, unless some of it is there already."""
        super().on_response_complete()
        self._wait_for_next()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser cannot read, unless that would answer another request."""
        if self._can_refuse:
            super().send_400_response(msg)
        self.transport.close()

    def end_if_late(self, now: float) -> None:
        """End the connection if its client sends too slowly.

        Args:
            now: seconds of the loop's clock.
        """
        if now > self._late_at:
            self._end(408 if self._is_in_head or self._is_in_body else None)

    def _wait_for_next(self) -> None:
        is_reading = self._is_in_head or self._is_in_body
        if self.cycle.response_complete and not (is_reading or self.pipeline):
            self._late_at = self.loop.time() + limits.KEEP_ALIVE_S

    @property
    def _can_refuse(self) -> bool:
        """Whether what is written now answers the request that is being read."""
        if self.transport.is_closing() or self.pipeline:  # requests before it are unanswered
            return False
        if self.cycle is None or self.cycle.response_complete:
            return not self._is_in_body
        return self._is_in_body and not self.cycle.response_started

    def _end(self, status: int | None) -> None:
        """End the connection, with a status if that answers the request that is being read."""
        self._late_at = math.inf
        if status and self._can_refuse:
            headers = b"content-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + headers)
        self.transport.close()
