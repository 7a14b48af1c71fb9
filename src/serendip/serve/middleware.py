"""ASGI middleware around every request: request id, host, origin, body size, security headers.

Order: request id -> host allow-list -> origin of writes -> body size -> application. An exception
of the application becomes an error response. ``ErrorResponse`` is the error format of the API.

Imports no framework, so it answers before the framework is loaded. Hosts are checked against DNS
rebinding (another site's host name that resolves to 127.0.0.1), origins against CSRF (browsers send
POST requests of other sites to local services too).
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from serendip.errors import ClientGoneError, SerendipError
from serendip.runtime.spans import SpanLog
from serendip.serve.current_request import CLIENT, Client, CurrentRequest, set_current_request
from serendip.serve.limits import MAX_BODY_BYTES, MAX_DRAIN_BYTES

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


JSON_TYPE = "application/json"
HTML_TYPE = "text/html; charset=utf-8"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error as the client sees it.

    Args:
        status: HTTP status.
        kind: stable name for programs, such as ``unknown_item``.
        message: what happened, with the value.
        hint: the next step; empty if the message suffices.
    """

    status: int
    kind: str
    message: str
    hint: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    @classmethod
    def of(cls, error: SerendipError) -> ErrorResponse:
        """The response for an error of ``serendip.errors``."""
        return cls(error.status, error.kind, error.message, error.hint, _headers_of(error))

    @classmethod
    def public(cls, error: SerendipError) -> ErrorResponse:
        """The same without details about the server's files, which are logged instead."""
        if not error.public_message:
            return cls.of(error)
        _log.warning("%s", error)
        hint = "Try again in a moment." if error.retry_after_s else "The service's log has more."
        message = f"{error.public_message} Nothing was stored."
        return cls(error.status, error.kind, message, hint, _headers_of(error))

    def text_headers(self) -> dict[str, str]:
        """The headers as text, for the framework."""
        return {name.decode(): value.decode() for name, value in self.headers}

    def body(self, request_id: str) -> bytes:
        """The JSON body."""
        return dump(
            {
                "error": {
                    "type": self.kind,
                    "message": self.message,
                    "hint": self.hint,
                    "request_id": request_id,
                }
            }
        )


def _headers_of(error: SerendipError) -> tuple[tuple[bytes, bytes], ...]:
    if error.status == 401:
        return ((b"www-authenticate", b"Bearer"),)
    if not error.retry_after_s:
        return ()
    return ((b"retry-after", str(error.retry_after_s).encode()),)


def dump(value: Any) -> bytes:
    """Encode as compact UTF-8 JSON; characters that cannot be encoded become question marks.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def new_request_id() -> str:
    """A random id for a request: 16 hexadecimal digits."""
    return secrets.token_hex(8)


def get_request_id(scope: Scope) -> str:
    """The id that the middleware assigned to a request; empty without the middleware."""
    return str(scope.get("state", {}).get("request_id", ""))


async def send_error(scope: Scope, send: Send, error: ErrorResponse) -> None:
    """Send an error response, without a framework."""
    body = error.body(get_request_id(scope))
    await send_body(send, error.status, body, error.headers)


async def send_body(
    send: Send,
    status: int,
    body: bytes,
    headers: Iterable[tuple[bytes, bytes]] = (),
    media_type: str = JSON_TYPE,
) -> None:
    """Send a response with an encoded body."""
    length = str(len(body)).encode()
    all_headers = [(b"content-type", media_type.encode()), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True, slots=True)
class HostRules:
    """The ``Host`` headers that the service answers to.

    Args:
        names: host names in lower case, without ports.
        addresses: whether every IP address is one, too: a browser sends an address only to that
            address, so that no name of another site can lead it here.
    """

    names: frozenset[str] = LOOPBACK_NAMES
    addresses: bool = False

    def allow(self, host: str) -> bool:
        """Whether a ``Host`` header may be answered."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower()
        return name in self.names or (self.addresses and _is_address(name.strip("[]")))


LOOPBACK_HOSTS = HostRules()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?", re.IGNORECASE)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def content_security_policy(image_hosts: Iterable[str] = ()) -> str:
    """Build the policy of a page: all from this service, pictures also from these hosts."""
    policy = (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    )
    sources = "".join(f" https://{host}" for host in image_hosts)
    return f"{policy}; img-src 'self'{sources}" if sources else policy


SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", content_security_policy().encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

Observe = Callable[[Scope, int, float], None]


class BodyTooLarge(Exception):
    """The request body exceeds ``MAX_BODY_BYTES``."""


class GuardMiddleware:
    """Guards an ASGI application and records every response.

    Args:
        app: the application.
        generation: returns the name of the current generation, for the header; empty = none yet.
        observe: called with scope, status and seconds of every response.
        hosts: the names that it answers to.
        keeps_spans: whether it is measured how long the parts of each request take.
    """

    def __init__(
        self,
        app: App,
        generation: Callable[[], str] = lambda: "",
        observe: Observe = lambda scope, status, seconds: None,
        hosts: HostRules = LOOPBACK_HOSTS,
        keeps_spans: bool = False,
    ) -> None:
        self._app, self._generation, self._observe = app, generation, observe
        self._hosts, self._keeps_spans = hosts, keeps_spans
        self.turn_away: Callable[[str], bool] = lambda path: False
        """Whether a GET of a path is refused now, as more is asked for than can be computed; then
        it is in the metrics and the log like other answers, but has no trace, and the application
        does not see it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request: refuse it or pass it to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        spans = state["spans"] = SpanLog() if self._keeps_spans else None
        client = state.get(CLIENT) or Client()
        set_current_request(CurrentRequest(request_id, client, spans))
        answer = _ResponseSender(send, request_id, self._generation)
        started = time.perf_counter()
        try:
            await self._handle(scope, receive, answer)
        finally:
            self._observe(scope, answer.status, time.perf_counter() - started)

    async def _handle(self, scope: Scope, receive: Receive, answer: _ResponseSender) -> None:
        refusal = self._check(scope)
        if refusal is not None:
            await _drain(receive, scope)
            await send_error(scope, answer, refusal)
            return
        try:
            await self._app(scope, _BodyLimit(receive, answer), answer)
        except BodyTooLarge:
            answer.is_closed = False
            await _drain(receive, scope)
            await send_error(scope, answer, _too_large_error())
        except Exception:  # noqa: BLE001 - last resort: the client gets a response, the log the cause
            _log.exception("the request failed")
            if not answer.started:
                await send_error(scope, answer, internal_error())

    def _check(self, scope: Scope) -> ErrorResponse | None:
        """Check host, origin and content length; None = the request is allowed."""
        headers = _read_headers(scope)
        host = headers.get(b"host", "")
        if not self._hosts.allow(host):
            return ErrorResponse(
                403,
                "host",
                f"this service does not answer to the host {host[:80]!r}.",
                "Ask it as 127.0.0.1 or localhost, or name the host in allowed_hosts of [serve].",
            )
        if scope["method"] not in _SAFE_METHODS and not _is_same_origin(headers, host):
            origin = headers.get(b"origin", "another site")[:80]
            return ErrorResponse(
                403,
                "origin",
                f"pages of {origin!r} may change nothing here.",
                "Send the request from the service's own page or without a browser.",
            )
        length = headers.get(b"content-length", "")
        if length.isdigit() and (len(length) > 15 or int(length) > MAX_BODY_BYTES):
            return _too_large_error()
        return None


class _ResponseSender:
    """ASGI ``send`` that adds the headers of the middleware and records the status."""

    def __init__(self, send: Send, request_id: str, generation: Callable[[], str]) -> None:
        self._send, self._request_id, self._generation = send, request_id, generation
        self.started = False
        self.is_closed = False
        self.status = 500

    async def __call__(self, message: Message) -> None:
        if self.is_closed:
            return
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._headers(message)]
        await self._send(message)

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in message.get("headers", ())}
        headers = [(b"x-request-id", self._request_id.encode()), *SECURITY_HEADERS]
        generation = self._generation()
        if generation:
            headers.append((b"x-generation", generation.encode("ascii", "replace")))
        return [header for header in headers if header[0] not in names]


class _BodyLimit:
    """ASGI ``receive`` that raises ``BodyTooLarge`` above the limit, and ``ClientGoneError``.

    The framework would turn ``BodyTooLarge`` into its own error response, so the response is closed
    first.
    """

    def __init__(self, receive: Receive, answer: _ResponseSender) -> None:
        self._receive, self._answer, self._count = receive, answer, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._answer.started:
            raise ClientGoneError("the client has hung up before its request was whole.")
        self._count += len(message.get("body", b""))
        if self._count > MAX_BODY_BYTES:
            self._answer.is_closed = not self._answer.started
            raise BodyTooLarge
        return message


async def _drain(receive: Receive, scope: Scope) -> None:
    """Read and discard the rest of a body: a client reads the response only after sending it."""
    if b"content-length" not in _read_headers(scope) and not _is_chunked(scope):
        return
    dropped = 0
    while dropped <= MAX_DRAIN_BYTES:
        message = await receive()
        dropped += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


def _is_chunked(scope: Scope) -> bool:
    return b"transfer-encoding" in _read_headers(scope)


def _read_headers(scope: Scope) -> dict[bytes, str]:
    """Headers by lower-case name; the first value of a name counts."""
    headers: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(bytes(name).lower(), bytes(value).decode("latin-1"))
    return headers


def _is_same_origin(headers: dict[bytes, Any], host: str) -> bool:
    origin = headers.get(b"origin")
    if origin is not None:
        return bool(origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}"))
    return headers.get(b"sec-fetch-site", "none") in ("none", "same-origin")


def _too_large_error() -> ErrorResponse:
    return ErrorResponse(
        413,
        "too_large",
        f"the body is larger than {MAX_BODY_BYTES // 1024**2} MiB.",
        "Send it in smaller batches.",
        ((b"connection", b"close"),),
    )


def internal_error() -> ErrorResponse:
    """The response after an unexpected exception."""
    return ErrorResponse(
        500,
        "internal",
        "the service failed on this request.",
        "The log has the cause under this request_id.",
    )
