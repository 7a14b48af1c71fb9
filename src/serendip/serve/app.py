"""The FastAPI application: API, page and error handlers.

All errors have the same format, whether the framework or the engine raised them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from serendip import __version__
from serendip.errors import SerendipError
from serendip.serve.access import SECURITY_SCHEMES, Access, ScopedRoute, require_declarations
from serendip.serve.api.responses import build_schemas
from serendip.serve.api.routes import Routes
from serendip.serve.engine_holder import READERS, EngineHolder, EnginePool
from serendip.serve.limits import LIMITS, ServiceLimits
from serendip.serve.middleware import (
    JSON_TYPE,
    LOOPBACK_HOSTS,
    ErrorResponse,
    GuardMiddleware,
    HostRules,
    Scope,
    get_request_id,
    internal_error,
)
from serendip.serve.page.routes import Pages
from serendip.serve.telemetry.logs import log_answer
from serendip.serve.telemetry.metrics import ServiceMetrics

if TYPE_CHECKING:
    from serendip.serve.telemetry.traces import Traces

_OPENAPI = "/openapi.json"


class _Application(FastAPI):
    """Declares in ``/openapi.json`` what is answered and how a request shows its key."""

    def openapi(self) -> dict[str, Any]:
        """Build the document on the first call."""
        if self.openapi_schema is None:
            components = super().openapi()["components"]
            schemas = components["schemas"] | build_schemas(self.state.bodies)
            components["schemas"] = dict(sorted(schemas.items()))
            components["securitySchemes"] = SECURITY_SCHEMES
        return super().openapi()


def build_app(
    holder: EngineHolder,
    access: Access | None = None,
    hosts: HostRules = LOOPBACK_HOSTS,
    limits: ServiceLimits = LIMITS,
    logs_answers: bool = False,
    traces: Traces | None = None,
) -> GuardMiddleware:
    """Build the service for an engine holder, with its middleware.

    Args:
        holder: of the engine.
        access: who may call which route; None = there are no keys.
        hosts: the names that it answers to.
        limits: of requests.
        logs_answers: whether each answer is logged.
        traces: of the requests; None = none are kept.

    Raises:
        TypeError: a route declares no scope.
    """
    pool = EnginePool(
        holder,
        waiting_reads=limits.waiting_requests,
        deadline_s=limits.deadline_s,
        reads_at_once=READERS if limits.waits_for_others else 1,
    )
    metrics = ServiceMetrics(holder)
    app = _Application(
        title="Serendip",
        summary="One engine for search and recommendations.",
        version=__version__,
        openapi_url=_OPENAPI,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.router.route_class = ScopedRoute
    app.state.access = access or Access()
    api = Routes(pool, metrics)
    app.state.bodies = api.bodies
    for router in (api.router, Pages(pool, app.state.access.ring).router):
        app.router.routes.extend(router.routes)  # to include a router would build each route again
    require_declarations(app.routes, frozenset({_OPENAPI}))
    app.add_exception_handler(SerendipError, _engine_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected_error)

    def observe(scope: Scope, status: int, seconds: float) -> None:
        route = metrics.observe(scope, status, seconds)
        if logs_answers:
            log_answer(scope["method"], route, status, seconds)
        if traces is not None:
            traces.send(scope, route, status, seconds, holder.generation)

    def turn_away(path: str) -> bool:
        route = next((one for one in api.reads if one.path_regex.match(path)), None)
        if route is None or not pool.turn_away_read():
            return False
        metrics.observe({"route": route}, 429, 0.0)
        if logs_answers:
            log_answer("GET", route.path, 429, 0.0)
        return True

    guard = GuardMiddleware(app, lambda: holder.generation, observe, hosts, traces is not None)
    guard.turn_away = turn_away
    return guard


async def _engine_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SerendipError)
    return _build_response(request, ErrorResponse.public(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        response = ErrorResponse(
            404, "unknown_route", f"there is no {request.url.path[:80]!r} here."
        )
    elif error.status_code == 405:
        response = ErrorResponse(
            405,
            "method",
            f"{request.url.path[:80]!r} does not answer to {request.method[:20]}.",
            f"It answers to {_allowed_methods(request)}.",
        )
    else:
        response = ErrorResponse(error.status_code, "http", str(error.detail)[:200])
    allowed = {"allow": _allowed_methods(request)} if error.status_code == 405 else None
    return _build_response(request, response, allowed)


async def _unexpected_error(request: Request, error: Exception) -> Response:
    """Respond in the API's format; the framework re-raises the error, the middleware logs it."""
    return _build_response(request, internal_error())


def _allowed_methods(request: Request) -> str:
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, APIRoute) and route.path_regex.match(request.url.path):
            methods |= route.methods or set()
    return ", ".join(sorted(methods))


def _build_response(
    request: Request, response: ErrorResponse, headers: dict[str, str] | None = None
) -> Response:
    body = response.body(get_request_id(request.scope))
    all_headers = response.text_headers() | (headers or {})
    return Response(body, response.status, all_headers, media_type=JSON_TYPE)
