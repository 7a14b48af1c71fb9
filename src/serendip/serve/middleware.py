"""ASGI middleware around every request: request id, host, origin, body size, security headers.

Hosts are checked against DNS rebinding (another site's host name that resolves to 127.0.0.1),
origins against CSRF (browsers send POST requests of other sites to local services too).
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serendip.errors import ClientGoneError, SerendipError, TooLargeError
from serendip.serve.gate import EngineGate
from serendip.serve.limits import MAX_BODY_BYTES
from serendip.serve.logs import IS_GONE, CurrentRequest, FailureLog, current_request, log_answer
from serendip.serve.metrics import ServiceMetrics
from serendip.serve.server_options import ServerOptions

JSON_TYPE, HTML_TYPE = "application/json", "text/html; charset=utf-8"
# Key of the ``state`` of a scope: bytes that the body may have, once it is known who asks.
BODY_LIMIT = "serendip.body_limit"

_log = logging.getLogger(__name__)

_POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
_POLICY += "object-src 'none'"


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error as the client sees it, see ``api.responses.ErrorDetailOut``."""

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
            hint = "The service's log has more."
            if error.retry_after_s:
                hint = "Try again in a moment."
            message = f"{error.public_message} {error.outcome}"
            if log is not None:
                log.write("a request was refused", error)
        headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else {}
        if error.status == 401:
            headers = {"www-authenticate": "Bearer"}
        return cls(error.status, error.kind, message, hint, headers)

    def respond(self) -> Response:
        """The response to the current request, in the form of the API."""
        error = {"type": self.kind, "message": self.message, "hint": self.hint}
        error["request_id"] = current_request.get().request_id
        text = json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":"))
        # Characters that cannot be encoded become question marks.
        body = text.encode("utf-8", "replace")
        return Response(body, self.status, self.headers, media_type=JSON_TYPE)


def content_security_policy(image_hosts: Iterable[str] = ()) -> str:
    """Build the policy of a page: all from this service, pictures also from these hosts."""
    sources = "".join(f" https://{host}" for host in image_hosts)
    return _POLICY + (f"; img-src 'self'{sources}" if sources else "")


_SECURITY_HEADERS = {
    b"content-security-policy": content_security_policy().encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


class GuardMiddleware:
    """Guards an ASGI application, and counts and logs its answers."""

    def __init__(self, app: ASGIApp, gate: EngineGate, metrics: ServiceMetrics) -> None:
        self.app, self.gate, self._metrics = app, gate, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request: refuse it or pass it to the application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state, request_id = scope.setdefault("state", {}), secrets.token_hex(8)
        current_request.set(CurrentRequest(request_id, state.get(IS_GONE, lambda: False)))
        started, status, num_bytes = time.perf_counter(), 0, 0

        async def receive_part() -> Message:
            nonlocal num_bytes
            message = await receive()
            if message["type"] == "http.disconnect" and not status:
                raise ClientGoneError("the client has hung up before its request was whole.")
            num_bytes += len(message.get("body", b""))
            if num_bytes > (limit := state.get(BODY_LIMIT, MAX_BODY_BYTES)):
                raise _too_large_error(limit)
            return message

        async def send_part(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
                added = _SECURITY_HEADERS | {b"x-request-id": request_id.encode()}
                if generation := self.gate.holder.generation:
                    added[b"x-generation"] = generation.encode("ascii", "replace")
                present = {name for name, _ in headers}
                headers += [pair for pair in added.items() if pair[0] not in present]
            await send(message)

        refusal = _find_refusal(scope, self.gate.options)
        answer: ASGIApp = refusal.respond() if refusal else self.app
        try:
            await answer(scope, receive_part, send_part)
        except Exception:  # noqa: BLE001 - the framework has answered: see ``app``
            _log.exception("the request failed")
        finally:
            seconds, status = time.perf_counter() - started, status or 500
            route = self._metrics.observe(scope, status, seconds)
            if self.gate.options.config.access_log:
                log_answer(scope["method"], route, status, seconds)


def _find_refusal(scope: Scope, options: ServerOptions) -> ErrorResponse | None:
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if not options.allows(host):
        message = f"this service does not answer to the host {host[:80]!r}."
        hint = "Ask it as 127.0.0.1 or localhost, or name the host in allowed_hosts of [serve]."
        return ErrorResponse(403, "host", message, hint)
    if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not _is_same_origin(headers, host):
        origin = headers.get("origin", "another site")[:80]
        message = f"pages of {origin!r} may change nothing here."
        hint = "Send the request from the service's own page or without a browser."
        return ErrorResponse(403, "origin", message, hint)
    length = headers.get("content-length", "")
    if length.isdigit() and (len(length) > 15 or int(length) > MAX_BODY_BYTES):
        return ErrorResponse.of(_too_large_error(MAX_BODY_BYTES))
    return None


def _is_same_origin(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _too_large_error(limit: int) -> TooLargeError:
    other = ", or with a key" if limit < MAX_BODY_BYTES else ""
    hint = f"Send it in smaller batches{other}."
    return TooLargeError(f"the body is larger than {limit // 1024:,} KiB.", hint)
