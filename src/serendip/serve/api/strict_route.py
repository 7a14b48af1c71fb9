"""FastAPI routes with strict JSON bodies and the error form of the API.

FastAPI's own parser accepts NaN and duplicate keys, and ignores bodies of other content types.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError

from serendip.serve.access import ScopedRoute
from serendip.serve.api.strict_json import parse
from serendip.serve.api.types import extract_data_error
from serendip.serve.middleware import JSON_TYPE

_SMALL_BYTES = 16 * 1024


class StrictRoute(ScopedRoute):
    """A route that parses its body with ``strict_json``, whatever the content type.

    The types of its parameters and body must raise ``DataError`` (``types.RequestModel`` does):
    the first one is raised in place of FastAPI's list of validation errors.
    """

    def build_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Build the handler of requests that are admitted."""
        handle = super().build_handler()
        has_body = self.body_field is not None

        async def handle_strictly(request: Request) -> Response:
            if has_body:
                request = _JsonRequest(request, await _parse(await request.body()))
            try:
                return await handle(request)
            except RequestValidationError as error:
                raise extract_data_error(error.errors()) from None

        return handle_strictly


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
