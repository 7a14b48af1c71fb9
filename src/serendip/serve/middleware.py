"""ASGI middleware around every request: request id, host, origin, body size, security headers.

Order: request id -> host allow-list -> origin of writes -> size of the body -> the application;
an exception of the application becomes an error response. It also has the error form of the API.

It imports no framework, so it answers before the framework is loaded. Hosts are checked because a
page of another site can point its own name at 127.0.0.1 (DNS rebinding), origins because browsers
send posts of other sites to local services, too (CSRF).
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from serendip.errors import SerendipError
from serendip.serve.limits import MAX_BODY_BYTES, MAX_DRAIN_BYTES

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


JSON_TYPE = "application/json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error as the client sees it.

    Args:
        status: HTTP status.
        kind: stable word for programs, ``unknown_item``.
        message: what happened, with the value.
        hint: the next step; empty where the message says it all.
    """

    status: int
    kind: str
    message: str
    hint: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    @classmethod
    def of(cls, error: SerendipError) -> ErrorResponse:
        """The failure that an error of the tree stands for."""
        return cls(error.status, error.kind, error.message, error.hint, _retry_after(error))

    @classmethod
    def public(cls, error: SerendipError, request_id: str) -> ErrorResponse:
        """The same for strangers: what names files of the operator goes to the log instead."""
        if not error.public_message:
            return cls.of(error)
        _log.warning("request %s: %s", request_id, error)
        hint = "Try again in a moment." if error.retry_after_s else "The service's log has more."
        message = f"{error.public_message} Nothing was stored."
        return cls(error.status, error.kind, message, hint, _retry_after(error))

    def text_headers(self) -> dict[str, str]:
        """The headers in the form that the framework takes."""
        return {name.decode(): value.decode() for name, value in self.headers}

    def body(self, request_id: str) -> bytes:
        """The JSON that every error answer has."""
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


def _retry_after(error: SerendipError) -> tuple[tuple[bytes, bytes], ...]:
    if not error.retry_after_s:
        return ()
    return ((b"retry-after", str(error.retry_after_s).encode()),)


def dump(value: Any) -> bytes:
    """Compact UTF-8 JSON. Text that cannot be encoded is written with question marks.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def request_id_of(scope: Scope) -> str:
    """The id that the door gave to this request; empty outside of it."""
    return str(scope.get("state", {}).get("request_id", ""))


async def send_failure(scope: Scope, send: Send, failure: ErrorResponse) -> None:
    """Answer a request with an error, without any framework."""
    body = failure.body(request_id_of(scope))
    await send_body(send, failure.status, body, failure.headers)


async def send_body(
    send: Send,
    status: int,
    body: bytes,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Answer with a JSON body that is already written."""
    length = str(len(body)).encode()
    own = [(b"content-type", JSON_TYPE.encode()), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": body})


LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})

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


_SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", content_security_policy().encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

Observe = Callable[[Scope, int, float], None]


class BodyTooLarge(Exception):
    """The body that is being read has passed the limit."""


class GuardMiddleware:
    """Wraps an application.

    Args:
        app: what answers behind the door.
        generation: name of the generation in force, for the header; empty while there is none.
        observe: told the scope, status and seconds of every answer.
        hosts: host names that may be asked for, without ports.
    """

    def __init__(
        self,
        app: App,
        generation: Callable[[], str] = lambda: "",
        observe: Observe = lambda scope, status, seconds: None,
        hosts: frozenset[str] = LOOPBACK_NAMES,
    ) -> None:
        self._app, self._generation, self._observe = app, generation, observe
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id, self._generation)
        started = time.perf_counter()
        try:
            await self._guarded(scope, receive, answer)
        finally:
            self._observe(scope, answer.status, time.perf_counter() - started)

    async def _guarded(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        refused = self._refusal(scope)
        if refused is not None:
            await _drain(receive, scope)
            await send_failure(scope, answer, refused)
            return
        try:
            await self._app(scope, _CountedBody(receive, answer), answer)
        except BodyTooLarge:
            answer.is_closed = False
            await _drain(receive, scope)
            await send_failure(scope, answer, _too_large())
        except Exception:  # noqa: BLE001 - the last resort: the client gets an answer, the log the cause
            _log.exception("request %s failed", scope["state"]["request_id"])
            if not answer.started:
                await send_failure(scope, answer, internal_error())

    def _refusal(self, scope: Scope) -> ErrorResponse | None:
        """Why this request may not come in; None where it may."""
        headers = _first_values(scope)
        host = headers.get(b"host", "")
        match = _HOST.fullmatch(host)
        if match is None or match[1].lower() not in self._hosts:
            return ErrorResponse(
                403,
                "host",
                f"this service does not answer to the host {host[:80]!r}.",
                "Ask it as 127.0.0.1 or localhost.",
            )
        if scope["method"] not in _SAFE_METHODS and not _same_origin(headers, host):
            origin = headers.get(b"origin", "another site")[:80]
            return ErrorResponse(
                403,
                "origin",
                f"pages of {origin!r} may change nothing here.",
                "Send the request from the service's own page or without a browser.",
            )
        length = headers.get(b"content-length", "")
        if length.isdigit() and (len(length) > 15 or int(length) > MAX_BODY_BYTES):
            return _too_large()
        return None


class _Answer:
    """``send`` that adds the door's headers and remembers what was answered."""

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
        given = {name.lower() for name, _ in message.get("headers", ())}
        own = [(b"x-request-id", self._request_id.encode()), *_SECURITY_HEADERS]
        generation = self._generation()
        if generation:
            own.append((b"x-generation", generation.encode("ascii", "replace")))
        return [header for header in own if header[0] not in given]


class _CountedBody:
    """``receive`` that stops an application from reading more than the limit.

    A framework between here and the application answers every exception in its own words, so the
    answer is closed first.
    """

    def __init__(self, receive: Receive, answer: _Answer) -> None:
        self._receive, self._answer, self._count = receive, answer, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._count += len(message.get("body", b""))
        if self._count > MAX_BODY_BYTES:
            self._answer.is_closed = not self._answer.started
            raise BodyTooLarge
        return message


async def _drain(receive: Receive, scope: Scope) -> None:
    """Read and drop what is left of a body: a client that still sends cannot read an answer."""
    if b"content-length" not in _first_values(scope) and not _is_chunked(scope):
        return
    dropped = 0
    while dropped <= MAX_DRAIN_BYTES:
        message = await receive()
        dropped += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


def _is_chunked(scope: Scope) -> bool:
    return b"transfer-encoding" in _first_values(scope)


def _first_values(scope: Scope) -> dict[bytes, str]:
    """Headers by lower-case name; the first of each counts."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(bytes(name).lower(), bytes(value).decode("latin-1"))
    return found


def _same_origin(headers: dict[bytes, Any], host: str) -> bool:
    origin = headers.get(b"origin")
    if origin is not None:
        return bool(origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}"))
    return headers.get(b"sec-fetch-site", "none") in ("none", "same-origin")


def _too_large() -> ErrorResponse:
    return ErrorResponse(
        413,
        "too_large",
        f"the body is larger than {MAX_BODY_BYTES // 1024**2} MiB.",
        "Send it in smaller batches.",
        ((b"connection", b"close"),),
    )


def internal_error() -> ErrorResponse:
    """What a client is told of a failure that nobody foresaw."""
    return ErrorResponse(
        500,
        "internal",
        "the service failed on this request.",
        "The log has the cause under this request_id.",
    )
