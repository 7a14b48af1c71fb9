"""ASGI middleware around every request: request id, host, origin, body size, security headers.

Order: request id -> host allow-list -> origin of writes -> admission of reads -> application. An
exception of the application becomes an error response. ``ErrorResponse`` is the error format of the
API.

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
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from serendip.errors import ClientGoneError, SerendipError
from serendip.serve.current_request import IS_GONE, CurrentRequest, current_request
from serendip.serve.limits import MAX_BODY_BYTES
from serendip.serve.telemetry.logs import FailureLog

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

JSON_TYPE, HTML_TYPE = "application/json", "text/html; charset=utf-8"
BODY_LIMIT = "serendip.body_limit"
"""Key of the ``state`` of a scope: bytes that the body may have, once it is known who asks."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error as the client sees it.

    Args:
        status: HTTP status.
        kind: stable name for programs, such as ``unknown_item``.
        message: what happened, with the value.
        hint: the next step; empty if the message suffices.
        headers: of the response.
    """

    status: int
    kind: str
    message: str
    hint: str = ""
    headers: Headers = field(default=())

    @classmethod
    def of(cls, error: SerendipError, log: FailureLog | None = None) -> ErrorResponse:
        """The response for an error of ``serendip.errors``; details of files go to the log."""
        hint, message = error.hint, error.message
        if error.public_message:
            hint = (
                "Try again in a moment." if error.retry_after_s else "The service's log has more."
            )
            message = f"{error.public_message} Nothing was stored."
            if log is not None:
                log.write("a request was refused", error)
        headers: Headers = ()
        if error.status == 401:
            headers = ((b"www-authenticate", b"Bearer"),)
        elif error.retry_after_s:
            headers = ((b"retry-after", str(error.retry_after_s).encode()),)
        return cls(error.status, error.kind, message, hint, headers)

    def text_headers(self) -> dict[str, str]:
        """The headers as text, for the framework."""
        return {name.decode(): value.decode() for name, value in self.headers}

    def body(self, request_id: str) -> bytes:
        """The JSON body."""
        told = {"type": self.kind, "message": self.message, "hint": self.hint}
        return dump({"error": told | {"request_id": request_id}})


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
    await send_body(send, error.status, error.body(get_request_id(scope)), error.headers)


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
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?", re.IGNORECASE)


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


def content_security_policy(image_hosts: Iterable[str] = ()) -> str:
    """Build the policy of a page: all from this service, pictures also from these hosts."""
    policy = (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    )
    sources = "".join(f" https://{host}" for host in image_hosts)
    return f"{policy}; img-src 'self'{sources}" if sources else policy


SECURITY_HEADERS: Headers = (
    (b"content-security-policy", content_security_policy().encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class BodyTooLarge(Exception):
    """The request body exceeds its limit."""


@dataclass(slots=True)
class GuardMiddleware:
    """Guards an ASGI application and observes every response.

    Args:
        app: the application.
        generation: returns the name of the current generation, for the header; empty = none yet.
        observe: called with scope, status and seconds of every response.
        hosts: the names that it answers to.
        turn_away: the refusal of a request that is not computed, as too many are asked for; None =
            it is computed.
        trace: surrounds each request.
    """

    app: App
    generation: Callable[[], str] = lambda: ""
    observe: Callable[[Scope, int, float], None] = lambda scope, status, seconds: None
    hosts: HostRules = LOOPBACK_HOSTS
    turn_away: Callable[[Scope], ErrorResponse | None] = lambda scope: None
    trace: Callable[[Scope], AbstractContextManager[object]] = lambda scope: nullcontext()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request: refuse it or pass it to the application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = new_request_id()
        current_request.set(CurrentRequest(request_id, state.get(IS_GONE, lambda: False)))
        answer = _ResponseSender(send, request_id, self.generation)
        started = time.perf_counter()
        with self.trace(scope):
            try:
                await self._handle(scope, receive, answer)
            finally:
                self.observe(scope, answer.status, time.perf_counter() - started)

    async def _handle(self, scope: Scope, receive: Receive, answer: _ResponseSender) -> None:
        refusal = self._check(scope) or self.turn_away(scope)
        if refusal is not None:
            await send_error(scope, answer, refusal)
            return
        try:
            await self.app(scope, _BodyLimit(scope, receive, answer), answer)
        except BodyTooLarge:
            answer.is_closed = False
            await send_error(scope, answer, _too_large_error(_body_limit(scope)))
        except Exception:  # noqa: BLE001 - last resort: the client gets a response, the log the cause
            _log.exception("the request failed")
            if not answer.started:
                await send_error(scope, answer, internal_error())

    def _check(self, scope: Scope) -> ErrorResponse | None:
        """Check host, origin and content length; None = the request is allowed."""
        headers = _read_headers(scope)
        host = headers.get(b"host", "")
        if not self.hosts.allow(host):
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
            return _too_large_error(MAX_BODY_BYTES)
        return None


class _ResponseSender:
    """ASGI ``send`` that adds the headers of the middleware and records the status."""

    def __init__(self, send: Send, request_id: str, generation: Callable[[], str]) -> None:
        self._send, self._request_id, self._generation = send, request_id, generation
        self.started = self.is_closed = False
        self.status = 500

    async def __call__(self, message: Message) -> None:
        if self.is_closed:
            return
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            message["headers"] = [*message.get("headers", ()), *self._headers(message)]
        await self._send(message)

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in message.get("headers", ())}
        headers = [(b"x-request-id", self._request_id.encode()), *SECURITY_HEADERS]
        if generation := self._generation():
            headers.append((b"x-generation", generation.encode("ascii", "replace")))
        return [header for header in headers if header[0] not in names]


class _BodyLimit:
    """ASGI ``receive`` that raises ``BodyTooLarge`` above the limit, and ``ClientGoneError``.

    The framework would turn ``BodyTooLarge`` into its own error response, so the response is closed
    first.
    """

    def __init__(self, scope: Scope, receive: Receive, answer: _ResponseSender) -> None:
        self._scope, self._receive, self._answer, self._count = scope, receive, answer, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._answer.started:
            raise ClientGoneError("the client has hung up before its request was whole.")
        self._count += len(message.get("body", b""))
        if self._count > _body_limit(self._scope):
            self._answer.is_closed = not self._answer.started
            raise BodyTooLarge
        return message


def _body_limit(scope: Scope) -> int:
    limit: int = scope["state"].get(BODY_LIMIT, MAX_BODY_BYTES)
    return limit


def _read_headers(scope: Scope) -> dict[bytes, str]:
    """Headers by lower-case name; the first value of a name counts."""
    headers: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(bytes(name).lower(), bytes(value).decode("latin-1"))
    return headers


def _is_same_origin(headers: dict[bytes, str], host: str) -> bool:
    origin = headers.get(b"origin")
    if origin is not None:
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
    return headers.get(b"sec-fetch-site", "none") in ("none", "same-origin")


def _too_large_error(limit: int) -> ErrorResponse:
    hint = "Send it in smaller batches."
    if limit < MAX_BODY_BYTES:
        hint = "Send it in smaller batches, or with a key."
    message = f"the body is larger than {limit // 1024:,} KiB."
    return ErrorResponse(413, "too_large", message, hint)


def internal_error() -> ErrorResponse:
    """The response after an unexpected exception."""
    return ErrorResponse(
        500,
        "internal",
        "the service failed on this request.",
        "The log has the cause under this request_id.",
    )
