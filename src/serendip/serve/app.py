"""The FastAPI application: API, page and error handlers.

All errors have the same format, whether the framework or the engine raised them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from serendip import __version__
from serendip.errors import SerendipError
from serendip.serve.access import SECURITY_SCHEMES, Access, KeyRing, ScopedRoute
from serendip.serve.api.responses import build_schemas
from serendip.serve.api.routes import Routes
from serendip.serve.engine_holder import EngineHolder, Follower, PublishedGenerations
from serendip.serve.gate import EngineGate
from serendip.serve.logs import FailureLog
from serendip.serve.metrics import ServiceMetrics
from serendip.serve.middleware import ErrorResponse, GuardMiddleware
from serendip.serve.page.routes import Pages
from serendip.serve.server_options import LOCAL, ServerOptions


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Declare what is answered and how a request shows its key, on the first call."""
        if self.openapi_schema is None:
            components = super().openapi()["components"]
            schemas = components["schemas"] | build_schemas(self.state.bodies)
            components["schemas"] = dict(sorted(schemas.items()))
            components["securitySchemes"] = SECURITY_SCHEMES
        return super().openapi()


def build_app(
    holder: EngineHolder,
    access: Access | None = None,
    options: ServerOptions = LOCAL,
) -> GuardMiddleware:
    """Build the service for an engine holder, with its middleware.

    Args:
        holder: of the engine.
        access: who may call which route; None = there are no keys.
        options: for whom it answers, within which limits, and what is logged.

    Raises:
        TypeError: a route declares no scope.
    """
    gate, metrics = EngineGate(holder, options), ServiceMetrics(holder)
    app = _Application(
        title="Serendip",
        summary="One engine for search and recommendations.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=dict.fromkeys((SerendipError, HTTPException, Exception), _fail),
    )
    app.router.route_class = ScopedRoute
    app.state.access, app.state.gate = access or Access(), gate
    app.state.failures = FailureLog(logging.getLogger(__name__))
    api = Routes(gate, metrics)
    app.state.bodies = api.bodies
    for router in (api.router, Pages(gate, app.state.access.ring).router):
        app.router.routes.extend(router.routes)  # to include a router would build each route again
    return GuardMiddleware(app, lambda: holder.generation, options, metrics)


@contextmanager
def open_application(
    published: PublishedGenerations, options: ServerOptions, holder: EngineHolder
) -> Iterator[ASGIApp]:
    """What one process answers with, and what follows the store and the keys beside it.

    Raises:
        SerendipError: no generation could be opened, or the keys cannot be read.
    """
    with closing(holder), ExitStack() as stack:
        follower = Follower(holder, published)
        follower.begin(time.monotonic())
        keys = options.open_keys() if options.open_keys else None
        ring = KeyRing(keys, options.is_reachable, options.secret_file)
        stack.enter_context(closing(ring))
        ring.load()
        stack.enter_context(closing(follower))
        access = Access(ring, options.config.visitor_events_per_minute)
        follower.watch(follow_keys=ring.load)
        yield build_app(holder, access, options)


async def _fail(request: Request, error: Exception) -> Response:
    # An unexpected error the framework raises again, and the middleware logs it.
    message = "the service failed on this request."
    hint = "The log has the cause under this request_id."
    failure = ErrorResponse(500, "internal", message, hint)
    if isinstance(error, SerendipError):
        failure = ErrorResponse.of(error, request.app.state.failures)
    elif isinstance(error, HTTPException):
        failure = _framework_error(request, error)
    return failure.respond(request.scope)


def _framework_error(request: Request, error: HTTPException) -> ErrorResponse:
    path = repr(request.url.path[:80])
    if error.status_code == 404:
        return ErrorResponse(404, "unknown_route", f"there is no {path} here.")
    if error.status_code != 405:
        return ErrorResponse(error.status_code, "http", str(error.detail)[:200])
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, APIRoute) and route.path_regex.match(request.url.path):
            methods |= route.methods or set()
    allowed = ", ".join(sorted(methods))
    message = f"{path} does not answer to {request.method[:20]}."
    return ErrorResponse(405, "method", message, f"It answers to {allowed}.", {"allow": allowed})
