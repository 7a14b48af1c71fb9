"""ASGI middleware around every request: request id, host, origin, body size, security headers.

Order: request id -> host allow-list -> origin of writes -> length -> load -> application. An
exception of the application becomes an error response. ``ErrorResponse`` is the error format of the
API.

Hosts are checked against DNS
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
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serendip.errors import ClientGoneError, SerendipError
from serendip.serve.limits import MAX_BODY_BYTES
from serendip.serve.telemetry.logs import IS_GONE, CurrentRequest, FailureLog, current_request

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
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: SerendipError, log: FailureLog | None = None) -> ErrorResponse:
        """The response for an error of ``serendip.errors``; details of files go to the log."""
        hint, message = error.hint, error.message
        if error.public_message:
            hint = (
                "Try again in a moment." if error.retry_after_s else "The service's log has more."
            )
            message = f"{error.public_message} {error.outcome}"
            if log is not None:
                log.write("a request was refused", error)
        headers = dict[str, str]()
        if error.status == 401:
            headers = {"www-authenticate": "Bearer"}
        elif error.retry_after_s:
            headers = {"retry-after": str(error.retry_after_s)}
        return cls(error.status, error.kind, message, hint, headers)

    def respond(self, scope: Scope) -> Response:
        """The response to a request, in the form of the API."""
        told = {"type": self.kind, "message": self.message, "hint": self.hint}
        body = dump({"error": told | {"request_id": get_request_id(scope)}})
        return Response(body, self.status, self.headers, media_type=JSON_TYPE)


def dump(value: Any) -> bytes:
    """Encode as compact UTF-8 JSON; characters that cannot be encoded become question marks.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def get_request_id(scope: Scope) -> str:
    """The id that the middleware assigned to a request; empty without the middleware."""
    return str(scope.get("state", {}).get("request_id", ""))


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


_SECURITY_HEADERS = {
    b"content-security-policy": content_security_policy().encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}
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

    app: ASGIApp
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
        state["request_id"] = request_id = secrets.token_hex(8)
        current_request.set(CurrentRequest(request_id, state.get(IS_GONE, lambda: False)))
        exchange = _Exchange(scope, receive, send, self.generation)
        started = time.perf_counter()
        with self.trace(scope):
            try:
                await self._handle(scope, exchange)
            finally:
                self.observe(scope, exchange.status, time.perf_counter() - started)

    async def _handle(self, scope: Scope, exchange: _Exchange) -> None:
        refusal = self._check(scope) or self.turn_away(scope)
        if refusal is not None:
            await refusal.respond(scope)(scope, exchange.receive, exchange.send)
            return
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BodyTooLarge:
            exchange.is_closed = False
            answer = _too_large_error(_body_limit(scope)).respond(scope)
            await answer(scope, exchange.receive, exchange.send)
        except Exception:  # noqa: BLE001 - last resort: the client gets a response, the log the cause
            _log.exception("the request failed")
            if not exchange.has_started:
                answer = internal_error().respond(scope)
                await answer(scope, exchange.receive, exchange.send)

    def _check(self, scope: Scope) -> ErrorResponse | None:
        """Check host, origin and content length; None = the request is allowed."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self.hosts.allow(host):
            return ErrorResponse(
                403,
                "host",
                f"this service does not answer to the host {host[:80]!r}.",
                "Ask it as 127.0.0.1 or localhost, or name the host in allowed_hosts of [serve].",
            )
        if scope["method"] not in _SAFE_METHODS and not _is_same_origin(headers, host):
            origin = headers.get("origin", "another site")[:80]
            return ErrorResponse(
                403,
                "origin",
                f"pages of {origin!r} may change nothing here.",
                "Send the request from the service's own page or without a browser.",
            )
        length = headers.get("content-length", "")
        if length.isdigit() and (len(length) > 15 or int(length) > MAX_BODY_BYTES):
            return _too_large_error(MAX_BODY_BYTES)
        return None


class _Exchange:
    """``receive`` and ``send`` of one request, with a bound on its body and headers of its answer.

    Attributes:
        status: of the answer.
        has_started: whether the answer has.
        is_closed: whether nothing is sent; the framework would answer ``BodyTooLarge`` itself.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, generation: Callable[[], str]
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._generation, self._num_bytes = generation, 0
        self.status, self.has_started, self.is_closed = 500, False, False

    async def receive(self) -> Message:
        """Receive a part of the body.

        Raises:
            ClientGoneError: there will be no other part.
            BodyTooLarge: the body is larger than its limit.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.has_started:
            raise ClientGoneError("the client has hung up before its request was whole.")
        self._num_bytes += len(message.get("body", b""))
        if self._num_bytes > _body_limit(self._scope):
            self.is_closed = not self.has_started
            raise BodyTooLarge
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers that all have."""
        if self.is_closed:
            return
        if message["type"] == "http.response.start":
            self.has_started, self.status = True, message["status"]
            headers = _SECURITY_HEADERS | {b"x-request-id": get_request_id(self._scope).encode()}
            if generation := self._generation():
                headers[b"x-generation"] = generation.encode("ascii", "replace")
            own = list(message.get("headers", ()))
            for name, _ in own:
                headers.pop(name.lower(), None)
            message["headers"] = [*own, *headers.items()]
        await self._send(message)


def _body_limit(scope: Scope) -> int:
    limit: int = scope["state"].get(BODY_LIMIT, MAX_BODY_BYTES)
    return limit


def _is_same_origin(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


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
