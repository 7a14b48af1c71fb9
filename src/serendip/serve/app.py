"""The FastAPI application: API, page and error handlers, which give all errors the same form."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from serendip import __version__
from serendip.errors import SerendipError
from serendip.serve.access import SECURITY_SCHEMES, Access
from serendip.serve.api.responses import build_schemas
from serendip.serve.api.routes import Routes
from serendip.serve.api.strict_route import StrictRoute
from serendip.serve.engine_holder import EngineHolder, PublishedGenerations
from serendip.serve.gate import EngineGate
from serendip.serve.logs import FailureLog
from serendip.serve.metrics import ServiceMetrics
from serendip.serve.middleware import ErrorResponse, GuardMiddleware
from serendip.serve.page.routes import Pages, error_page
from serendip.serve.server_options import ServerOptions
from serendip.serve.shared_state import SharedState


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Declare what is answered and how a request shows its key, on the first call."""
        if self.openapi_schema is None:
            components = super().openapi()["components"]
            schemas = components["schemas"] | build_schemas(self.state.bodies)
            components["schemas"] = dict(sorted(schemas.items()))
            components["securitySchemes"] = SECURITY_SCHEMES
        return super().openapi()


def build_app(gate: EngineGate, access: Access) -> GuardMiddleware:
    """Build the service for a gate, with its middleware."""
    metrics = ServiceMetrics(gate.holder)
    app = _Application(
        title="Serendip",
        summary="One engine for search and recommendations.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=dict.fromkeys((SerendipError, HTTPException, Exception), _fail),
    )
    app.router.route_class = StrictRoute
    app.state.access, app.state.gate = access, gate
    app.state.failures = FailureLog(logging.getLogger(__name__))
    api = Routes(gate, metrics)
    app.state.bodies = api.bodies
    for router in (api.router, Pages(gate, access).router):
        app.router.routes.extend(router.routes)  # to include a router would build each route again
    return GuardMiddleware(app, gate, metrics)


@contextmanager
def open_application(
    published: PublishedGenerations, options: ServerOptions, shared: SharedState | None = None
) -> Iterator[GuardMiddleware]:
    """What one process answers with, and what follows the store and the keys beside it."""
    with EngineHolder(published, shared) as holder:
        holder.check(time.monotonic())
        with closing(Access(options, holder.shared)) as access:
            access.load()
            with holder.watching(access.load):
                yield build_app(EngineGate(holder, options), access)


async def _fail(request: Request, error: Exception) -> Response:
    if isinstance(error, SerendipError):
        failure = ErrorResponse.of(error, request.app.state.failures)
    elif isinstance(error, HTTPException):
        failure = _framework_error(request, error)
    else:  # the framework raises it again, and the middleware logs it
        hint = "The log has the cause under this request_id."
        failure = ErrorResponse(500, "internal", "the service failed on this request.", hint)
    route = request.scope.get("route")
    is_page = isinstance(route, StrictRoute) and not route.include_in_schema
    return error_page(failure) if is_page else failure.respond()


def _framework_error(request: Request, error: HTTPException) -> ErrorResponse:
    path = repr(request.url.path[:80])
    if error.status_code != 405:
        return ErrorResponse(error.status_code, "unknown_route", f"there is no {path} here.")
    routes = (route for route in request.app.routes if isinstance(route, StrictRoute))
    found = [route.methods or () for route in routes if route.path_regex.match(request.url.path)]
    allowed = ", ".join(sorted(set().union(*found)))
    message = f"{path} does not answer to {request.method[:20]}."
    return ErrorResponse(405, "method", message, f"It answers to {allowed}.", {"allow": allowed})
