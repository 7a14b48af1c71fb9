"""Routes that FastAPI describes, and that admit callers and read what they send themselves.

FastAPI's own parser accepts NaN, and ignores bodies of other content types.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.params import Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from serendip.errors import DataError
from serendip.serve.api.types import Id, RequestModel, read
from serendip.serve.gate import overload_error
from serendip.serve.limits import MAX_JSON_NODES
from serendip.serve.middleware import ErrorResponse

_SMALL_BYTES = 16 * 1024
_OVERLOAD = ErrorResponse.of(overload_error())


class PathId(RequestModel):
    """What is in a path."""

    id: Id
    """The id of an item or user."""


_PATH_ID = TypeAdapter(PathId)


class StrictRoute(APIRoute):
    """A route of an endpoint that returns a response; a body is JSON whatever it claims to be.

    It admits only whom its ``security`` declares, as ``/openapi.json`` shows it; without a
    declaration it cannot be made. The types of parameters must raise ``DataError``
    (``types.RequestModel`` does). One is the request, the others are the query, the body, or in the
    path.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        security = (self.openapi_extra or {}).get("security")
        if security is None:
            raise TypeError(f"route {path} declares no scope: see serve/access.py")
        self._needed = {name: scopes for scheme in security for name, scopes in scheme.items()}
        self._is_read = self.methods == {"GET"} and path.startswith("/v1/")
        self._types = {
            name: (parameter.annotation, TypeAdapter(parameter.annotation))
            for name, parameter in inspect.signature(endpoint, eval_str=True).parameters.items()
            if parameter.annotation is not Request
        }

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse a read where a refusal takes the least of the time of others."""
        request, state = Request(scope, receive), scope["app"].state
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
        elif self._is_read and state.gate.turn_away():
            await _OVERLOAD.respond()(scope, receive, send)
        else:
            state.access.admit(request, self._needed)
            response = await self.endpoint(request=request, **await self._read(request))
            await response(scope, receive, send)

    async def _read(self, request: Request) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, (kind, adapter) in self._types.items():
            if name in request.path_params:
                values[name] = read(_PATH_ID, {"id": request.path_params[name]}).id
                continue
            if any(isinstance(one, Query) for one in get_args(kind)):
                value = _read_query(request.query_params, get_args(kind)[0])
            else:
                value = await _parse(await request.body())
            values[name] = read(adapter, value)
        return values


def _read_query(given: QueryParams, model: type[BaseModel]) -> dict[str, Any]:
    """Parameters by name, those of which a model has several as lists; else the last one counts."""
    values: dict[str, Any] = dict(given)
    for name, field in model.model_fields.items():
        if (alias := field.alias or name) in values and get_origin(field.annotation) is tuple:
            values[alias] = given.getlist(alias)
    return values


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
