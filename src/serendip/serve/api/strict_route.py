"""FastAPI routes with strict JSON bodies and the error form of the API.

FastAPI's own parser accepts NaN, and ignores bodies of other content types.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import from_json
from starlette.types import Receive, Scope, Send

from serendip.errors import DataError
from serendip.serve.access import ScopedRoute
from serendip.serve.api.types import extract_data_error
from serendip.serve.gate import overload_error
from serendip.serve.limits import MAX_JSON_NODES
from serendip.serve.middleware import JSON_TYPE, ErrorResponse

_SMALL_BYTES = 16 * 1024
_OVERLOAD = ErrorResponse.of(overload_error("more is asked for than can be computed."))


class StrictRoute(ScopedRoute):
    """A route that parses its body with ``parse``, whatever the content type.

    The types of its parameters and body must raise ``DataError`` (``types.RequestModel`` does):
    the first one is raised in place of FastAPI's list of validation errors.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse a read where a refusal takes the least of the time of others."""
        is_read = scope["method"] == "GET" and self.path.startswith("/v1/")
        if is_read and scope["app"].state.gate.turn_away():
            await _OVERLOAD.respond(scope)(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Build the handler; FastAPI calls this once per route."""
        handle = super().get_route_handler()
        has_body = self.body_field is not None

        async def handle_strictly(request: Request) -> Response:
            if has_body:
                request = _JsonRequest(request, await _parse(await request.body()))
            try:
                return await handle(request)
            except RequestValidationError as error:
                raise extract_data_error(error.errors()) from None

        return handle_strictly


def parse(body: bytes) -> Any:
    """Parse a JSON body; its numbers and texts are checked by the types of the fields.

    Raises:
        DataError: it is not UTF-8 or not JSON, has NaN or Infinity, is nested too deeply, or has
            more than 200,000 lists and objects.
    """
    if body.count(b"[") + body.count(b"{") > MAX_JSON_NODES:  # which take far longer than bytes
        raise DataError(
            f"the body has more than {MAX_JSON_NODES:,} lists and objects.",
            "Send it in smaller batches.",
        )
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        message = f"the body is not JSON: {error}."
        raise DataError(message, "Send JSON as UTF-8, not compressed.") from None


async def _parse(body: bytes) -> Any:
    """Parse a body; a large one beside the event loop, which answers others meanwhile."""
    return parse(body) if len(body) <= _SMALL_BYTES else await asyncio.to_thread(parse, body)


class _JsonRequest(Request):
    """A request with a parsed body.

    FastAPI treats ``null`` as a missing body, so it becomes ``[null]``, which every request type
    refuses with the same message.
    """

    def __init__(self, request: Request, value: Any) -> None:
        kept = [pair for pair in request.scope["headers"] if pair[0] == b"accept-language"]
        headers = [(b"content-type", JSON_TYPE.encode()), *kept]
        super().__init__({**request.scope, "headers": headers}, request.receive)
        self._value = [None] if value is None else value

    async def body(self) -> bytes:
        """Any bytes: FastAPI calls ``json`` unless the body is empty."""
        return b"{}"

    async def json(self) -> Any:
        """The parsed body."""
        return self._value
