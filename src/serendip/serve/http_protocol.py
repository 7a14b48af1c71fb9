"""HTTP connections with bounds of their own, and every refusal in the error form of the API.

What uvicorn leaves open: how large the head of a request may be, how long head and body may take to
arrive, how long a client may leave an answer unread, and how many connections one client may have.
The times are looked at once a second for all connections together, which costs a request nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from serendip.serve.current_request import CLIENT, Client
from serendip.serve.limits import (
    FILES_BESIDE,
    KEEP_ALIVE_S,
    MAX_CONNECTIONS,
    MAX_DRAIN_BYTES,
    MAX_HEAD_BYTES,
    MAX_UNREAD_S,
    MIN_BYTES_PER_S,
    SHARE_OF_ONE,
)
from serendip.serve.middleware import JSON_TYPE, SECURITY_HEADERS, ErrorResponse, new_request_id
from serendip.serve.rate_limits import name_sender

_INVALID = ErrorResponse(
    400, "http", "this is not a valid HTTP request.", "The client, or a proxy before it, is broken."
)
_HEAD_TOO_LARGE = ErrorResponse(
    431,
    "too_large",
    f"the address and the headers are larger than {MAX_HEAD_BYTES // 1024} KiB together.",
    "Send long lists in the body of a POST.",
)
_TOO_MANY = ErrorResponse(
    503,
    "overload",
    "too many connections are open.",
    "Use fewer, and keep them open between requests.",
    ((b"retry-after", b"1"),),
)
_LATE = ErrorResponse(
    408, "timeout", "the request did not arrive in time.", "Send it again, without pauses."
)

_THIS_MACHINE = ("127.0.0.1", "::1", "::ffff:127.0.0.1")

MOST_REFUSED = 64
"""Connections above the limit that are open at once, to be told."""


def max_connections() -> int:
    """Connections that may be open at once, within what the system allows the process."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, files - FILES_BESIDE))


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """Bounds on the connections of one server.

    Args:
        receive_timeout_s: seconds in which the head of a request must arrive, and a body must begin
            to come at ``MIN_BYTES_PER_S``.
        proxies: addresses and networks that many clients come from.
        most: number of connections that may be open; a further one is told so and closed.
        open_by: number of open connections by sender, of those that are counted.
    """

    receive_timeout_s: float
    proxies: Sequence[str] = ()
    most: int = field(default_factory=max_connections)
    open_by: Counter[str] = field(default_factory=Counter)

    def is_proxy(self, host: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        return _is_within(host, self.proxies)

    def name_bounded(self, host: str) -> str:
        """The sender at an address whose connections are bounded; empty = nobody's are."""
        is_many = self.is_proxy(host) or _is_within(host, _THIS_MACHINE)
        return "" if is_many else name_sender(host)


def _is_within(host: str, networks: Sequence[str]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # the socket of a file
        return False
    return any(address in ipaddress.ip_network(network) for network in networks)


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        bounds: of all connections of the server.
        config: of the server.
        server_state: of the server.
        app_state: of the application.
        _loop: that runs the server.
    """

    def __init__(
        self,
        bounds: ConnectionBounds,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds, self._sender = bounds, ""
        self._client = Client()
        self._has_begun, self._is_in_head = False, False  # of the request that is being read
        self._bytes_beside_body = 0  # since it began, or since the last part of its body
        self._bytes_after_answer = 0
        self._late_at = math.inf
        self._refusal = _INVALID
        self._has_refused = self._is_surplus = False
        self._earlier: RequestResponseCycle | None = None  # the one before ``cycle``
        self._unread, self._unread_since = 0, 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or refuse it if too many connections are open."""
        super().connection_made(transport)
        self._late_at = self.loop.time() + KEEP_ALIVE_S
        host = self.client[0] if self.client else ""
        self._client.is_proxy = self._bounds.is_proxy(host)
        self._sender = self._bounds.name_bounded(host)
        self._bounds.open_by[self._sender] += 1
        surplus = len(self.connections) - self._bounds.most
        if self._sender:
            most = max(1, self._bounds.most // SHARE_OF_ONE)
            surplus = max(surplus, self._bounds.open_by[self._sender] - most)
        if surplus > MOST_REFUSED:
            self._refuse(_TOO_MANY)
        elif surplus > 0:  # told with its first byte, as a client may not read before it has sent
            self._is_surplus, self._late_at = True, self.loop.time() + 1.0

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nobody waits for an answer any more."""
        self._client.is_gone = True
        self._bounds.open_by[self._sender] -= 1
        if self._bounds.open_by[self._sender] <= 0:
            del self._bounds.open_by[self._sender]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse a head that is too large before it is complete.

        The same bound holds for what follows a body in chunks.
        """
        if self._is_surplus and not self._has_refused:
            self._refuse(_TOO_MANY)
        if self._has_refused:
            return
        self._bytes_beside_body += len(data)
        super().data_received(data)
        if self._bytes_beside_body > MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """The first byte of a request is there."""
        super().on_message_begin()
        self._has_begun = self._is_in_head = True
        self._late_at = self.loop.time() + self._bounds.receive_timeout_s

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is there; those after a body are dropped."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._refusal = _HEAD_TOO_LARGE
            raise ValueError("the parser ends, and the request is refused")
        self.scope["state"][CLIENT] = self._client
        self._earlier = self.cycle
        super().on_headers_complete()
        self._is_in_head, self._bytes_beside_body, self._bytes_after_answer = False, 0, 0
        self._late_at = self.loop.time() + self._bounds.receive_timeout_s

    def on_body(self, body: bytes) -> None:
        """A part of the body is there; after an answer it is discarded, up to a limit."""
        super().on_body(body)
        self._bytes_beside_body = 0
        self._late_at += len(body) / MIN_BYTES_PER_S
        if self.cycle.response_complete:
            self._bytes_after_answer += len(body)
            if self._bytes_after_answer > MAX_DRAIN_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        """The whole request is there."""
        super().on_message_complete()
        self._has_begun, self._bytes_beside_body = False, 0
        is_answered = self.cycle.response_complete  # before its body was there
        self._late_at = self.loop.time() + KEEP_ALIVE_S if is_answered else math.inf

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, unless some of it is there already."""
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and self._late_at == math.inf:
            self._late_at = self.loop.time() + KEEP_ALIVE_S

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser cannot read."""
        self._refuse(self._refusal)

    def end_if_late(self, now: float) -> None:
        """End the connection if its client sends, or reads, too slowly.

        Args:
            now: seconds of the loop's clock.
        """
        if now > self._late_at:
            self._end_late(now)
        unread = self.transport.get_write_buffer_size()
        if unread != self._unread or not unread:
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since > MAX_UNREAD_S:
            self.transport.abort()

    def _end_late(self, now: float) -> None:
        if self.flow.read_paused:  # the application has not asked for more of the body yet
            self._late_at = now + self._bounds.receive_timeout_s
        elif not self._has_begun:
            self.transport.close()
        else:
            self._refuse(_LATE)

    def _refuse(self, error: ErrorResponse) -> None:
        """Answer the request that is being read with an error, and end the connection.

        If earlier ones are unanswered, they are answered instead: this one would be out of turn.
        """
        self._has_refused, self._late_at = True, math.inf
        has_cycle = self._has_begun and not self._is_in_head
        last = self._earlier if has_cycle else self.cycle
        if last is not None and not last.response_complete:
            if has_cycle:
                self.pipeline.popleft()
            last.keep_alive = False
            self.flow.pause_reading()
            return
        is_answered = has_cycle and self.cycle.response_started
        if has_cycle:  # what runs learns that nobody waits for it
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not is_answered:
            self.transport.write(self._encode(error))
        self.transport.close()

    def _encode(self, error: ErrorResponse) -> bytes:
        request_id = new_request_id()
        body = error.body(request_id)
        headers = [
            *self.server_state.default_headers,
            (b"content-type", JSON_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            *error.headers,
            *SECURITY_HEADERS,
            (b"connection", b"close"),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return STATUS_LINE[error.status] + lines + b"\r\n" + body
