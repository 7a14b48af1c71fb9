"""ASGI middleware around every request: request id, host, origin, body size, security headers.

Hosts are checked against DNS rebinding (another site's host name that resolves to 127.0.0.1),
origins against CSRF (browsers send POST requests of other sites to local services too). An
exception of the application becomes an error response. ``ErrorResponse`` is the error format of the
API.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serendip.errors import ClientGoneError, SerendipError, TooLargeError
from serendip.serve.limits import MAX_BODY_BYTES
from serendip.serve.logs import (
    IS_GONE,
    CurrentRequest,
    FailureLog,
    current_request,
    log_answer,
)
from serendip.serve.server_options import ServerOptions

if TYPE_CHECKING:
    from serendip.serve.metrics import ServiceMetrics

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


def content_security_policy(image_hosts: Iterable[str] = ()) -> str:
    """Build the policy of a page: all from this service, pictures also from these hosts."""
    policy = (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    )
    sources = "".join(f" https://{host}" for host in image_hosts)
    return f"{policy}; img-src 'self'{sources}" if sources else policy


_SECURITY_HEADERS = {
    "content-security-policy": content_security_policy(),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class GuardMiddleware:
    """Guards an ASGI application, and counts and logs its answers."""

    def __init__(
        self,
        app: ASGIApp,
        generation: Callable[[], str],
        options: ServerOptions,
        metrics: ServiceMetrics,
    ) -> None:
        self.app, self._generation, self._options = app, generation, options
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request: refuse it or pass it to the application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = secrets.token_hex(8)
        current_request.set(CurrentRequest(request_id, state.get(IS_GONE, lambda: False)))
        exchange, started = _Exchange(scope, receive, send, self._generation), time.perf_counter()
        refusal = _find_refusal(scope, self._options)
        answer: ASGIApp = refusal.respond(scope) if refusal else self.app
        try:
            await answer(scope, exchange.receive, exchange.send)
        except Exception:  # noqa: BLE001 - the framework has answered: see ``app``
            _log.exception("the request failed")
        finally:
            seconds = time.perf_counter() - started
            route = self._metrics.observe(scope, exchange.status, seconds)
            if self._options.config.access_log:
                log_answer(scope["method"], route, exchange.status, seconds)


def _find_refusal(scope: Scope, options: ServerOptions) -> ErrorResponse | None:
    """Check host, origin and content length; None = the request is allowed."""
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if not options.allows(host):
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
        return ErrorResponse.of(_too_large_error(MAX_BODY_BYTES))
    return None


class _Exchange:
    """``receive`` and ``send`` of one request: bound its body, and give its answer headers."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, generation: Callable[[], str]
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._generation, self._num_bytes = generation, 0
        self.status, self.has_started = 500, False

    async def receive(self) -> Message:
        """Receive a part of the body.

        Raises:
            ClientGoneError: there will be no other part.
            TooLargeError: the body is larger than its limit.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.has_started:
            raise ClientGoneError("the client has hung up before its request was whole.")
        self._num_bytes += len(message.get("body", b""))
        limit = self._scope["state"].get(BODY_LIMIT, MAX_BODY_BYTES)
        if self._num_bytes > limit:
            raise _too_large_error(limit)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers that all have."""
        if message["type"] == "http.response.start":
            self.has_started, self.status = True, message["status"]
            headers = MutableHeaders(raw=message["headers"])
            added = _SECURITY_HEADERS | {"x-request-id": get_request_id(self._scope)}
            if generation := self._generation():
                added["x-generation"] = generation.encode("ascii", "replace").decode()
            for name, value in added.items():
                headers.setdefault(name, value)
        await self._send(message)


def _is_same_origin(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _too_large_error(limit: int) -> TooLargeError:
    hint = "Send it in smaller batches."
    if limit < MAX_BODY_BYTES:
        hint = "Send it in smaller batches, or with a key."
    return TooLargeError(f"the body is larger than {limit // 1024:,} KiB.", hint)
