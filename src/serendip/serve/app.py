"""The application behind the door: API, page, errors.

``build_app`` is all that the server and the tests need. What fails here fails in one form, whether
the framework or the engine raised it.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from serendip import __version__
from serendip.errors import SerendipError
from serendip.serve.api.routes import Routes
from serendip.serve.engine_holder import EngineHolder, EnginePool
from serendip.serve.metrics import ServiceMetrics
from serendip.serve.middleware import (
    JSON_TYPE,
    App,
    ErrorResponse,
    GuardMiddleware,
    internal_error,
    request_id_of,
)
from serendip.serve.page.routes import Pages


def build_app(holder: EngineHolder) -> App:
    """The whole service over one engine holder, door included."""
    workers, measures = EnginePool(holder), ServiceMetrics(holder)

    app = FastAPI(
        title="Serendip",
        summary="One engine for search and recommendations.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    routers = (Routes(workers, measures).router, Pages(workers).router)
    app.include_router(routers[0])
    app.include_router(routers[1], include_in_schema=False)
    app.state.known_routes = [route for router in routers for route in router.routes]
    app.add_exception_handler(SerendipError, _engine_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unforeseen)
    return GuardMiddleware(app, lambda: holder.generation, measures.observe)


async def _engine_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SerendipError)
    return _response(request, ErrorResponse.public(error, request_id_of(request.scope)))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        failure = ErrorResponse(
            404, "unknown_route", f"there is no {request.url.path[:80]!r} here."
        )
    elif error.status_code == 405:
        failure = ErrorResponse(
            405,
            "method",
            f"{request.url.path[:80]!r} does not answer to {request.method[:20]}.",
            f"It answers to {_methods(request)}.",
        )
    else:
        failure = ErrorResponse(error.status_code, "http", str(error.detail)[:200])
    allowed = {"allow": _methods(request)} if error.status_code == 405 else None
    return _response(request, failure, allowed)


async def _unforeseen(request: Request, error: Exception) -> Response:
    """Answer in the one form; the framework raises the error again, and the door logs it."""
    return _response(request, internal_error())


def _methods(request: Request) -> str:
    found: set[str] = set()
    for route in request.app.state.known_routes:
        if isinstance(route, APIRoute) and route.path_regex.match(request.url.path):
            found |= route.methods or set()
    return ", ".join(sorted(found))


def _response(
    request: Request, failure: ErrorResponse, headers: dict[str, str] | None = None
) -> Response:
    body = failure.body(request_id_of(request.scope))
    all_headers = failure.text_headers() | (headers or {})
    return Response(body, failure.status, all_headers, media_type=JSON_TYPE)
