"""The routes of the HTTP API; their types are in ``requests`` and ``responses``.

Read endpoints take the same names as parameters of a GET and in the JSON body of a POST.

The types document every response in ``/openapi.json``, but FastAPI neither validates nor encodes
them: the endpoints return encoded responses.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_args

from fastapi import APIRouter, Body, Header, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute

from serendip.data import Item
from serendip.data.api_key import ADMIN, READ, READ_USERS, WRITE
from serendip.data.items.attribute_test import AttributeTest
from serendip.engine.answer import Answer
from serendip.engine.listing import DESCENDING
from serendip.engine.request import Request as EngineRequest
from serendip.errors import DataError, LateError, UnknownItemError
from serendip.serve.access import PUBLIC, RouteAccess, get_caller
from serendip.serve.api import responses
from serendip.serve.api.requests import (
    EventRows,
    ExplainQuery,
    IdInPath,
    ItemRows,
    RecommendQuery,
    SearchQuery,
    SimilarQuery,
    SuggestQuery,
    UserIn,
    UsersQuery,
)
from serendip.serve.api.strict_route import StrictRoute
from serendip.serve.engine_holder import loading_error
from serendip.serve.gate import EngineGate
from serendip.serve.middleware import JSON_TYPE, dump
from serendip.serve.telemetry.metrics import ServiceMetrics

if TYPE_CHECKING:
    from serendip.engine.engine import Engine

_BY_LANGUAGE = {"vary": "accept-language"}
"""Header of answers whose sentences depend on the languages of the caller."""

Endpoint = Callable[..., Awaitable[Response]]

AcceptLanguage = Annotated[str, Header(include_in_schema=False)]
"""Languages of the caller, for sentences, where the request names none."""


class Routes:
    """The routes of the API, served through the gate."""

    def __init__(self, gate: EngineGate, metrics: ServiceMetrics) -> None:
        self._gate, self._metrics = gate, metrics
        self.router = APIRouter(route_class=StrictRoute, responses=responses.ERRORS)
        self.bodies: set[type] = {responses.ErrorOut}
        self._add_reads()  # what waits to be computed
        routes = [one for one in self.router.routes if isinstance(one, APIRoute)]
        self.reads = [one for one in routes if "GET" in (one.methods or ())]
        self._add_writes()
        self._add_operations()

    def _add_reads(self) -> None:
        similar, history = "/v1/items/{item_id:path}/similar", "/v1/users/{user_id:path}/history"
        self._add_both("/v1/search", self.search, responses.AnswerOut)
        self._add_both("/v1/recommend", self.recommend, responses.AnswerOut)
        self._add_both("/v1/suggest", self.suggest, responses.SuggestionsOut, visitors=True)
        self._add_both("/v1/explain", self.explain, responses.ExplanationOut)
        self._add_both(similar, self.similar, responses.AnswerOut)
        self._add("GET", "/v1/users", READ_USERS, self.users, responses.UsersOut)
        self._add("GET", history, READ_USERS, self.history, responses.HistoryOut)
        user = "/v1/users/{user_id:path}"
        self._add("GET", user, READ_USERS, self.user, responses.UserAttributesOut)
        self._add("GET", "/v1/items/{item_id:path}", READ, self.item, responses.ItemOut)

    def _add_writes(self) -> None:
        user, item = "/v1/users/{user_id:path}", "/v1/items/{item_id:path}"
        self._add("POST", "/v1/events", WRITE, self.add_events, responses.StoredOut, visitors=True)
        self._add("PUT", user, WRITE, self.put_user, responses.UserAttributesOut)
        self._add("POST", "/v1/items", WRITE, self.add_items, responses.StoredItemsOut)
        self._add("DELETE", item, WRITE, self.delete_item, responses.DeletedOut)
        self._add("DELETE", user, (WRITE, READ_USERS), self.erase_user, responses.ErasureOut)

    def _add_operations(self) -> None:
        self._add("GET", "/health/live", PUBLIC, self.live, responses.LiveOut)
        self._add("GET", "/health/ready", PUBLIC, self.ready, responses.ReadyOut)
        self.router.add_api_route(
            "/metrics",
            self.metrics,
            response_class=PlainTextResponse,
            response_description="The answer.",
            operation_id="get_metrics",
            openapi_extra=RouteAccess((ADMIN,)).declare(),
        )

    def _add_both(
        self, path: str, endpoint: Endpoint, answer: type, visitors: bool = False
    ) -> None:
        """Add a route whose parameters are those of a GET, or the JSON body of a POST."""
        self._add("GET", path, READ, endpoint, answer, visitors)
        self._add("POST", path, READ, _reading_body(endpoint), answer, visitors)

    def _add(
        self,
        method: str,
        path: str,
        scopes: str | tuple[str, ...],
        endpoint: Endpoint,
        answer: type,
        visitors: bool = False,
    ) -> None:
        """Add a route.

        Args:
            method: HTTP method.
            path: its pattern.
            scopes: that a key needs to call it, all of them, or ``PUBLIC``.
            endpoint: called for each request.
            answer: type of the response body, for ``/openapi.json``.
            visitors: whether visitors of the page may call it, too, for themselves.
        """
        self.bodies.add(answer)
        self.router.add_api_route(
            path,
            endpoint,
            methods=[method],
            response_model=None,
            response_description="The answer.",
            responses={200: {"content": responses.declare_body(answer)}},
            name=endpoint.__name__,
            description=inspect.getdoc(endpoint),
            operation_id=f"{method.lower()}_{endpoint.__name__}",
            openapi_extra=RouteAccess(
                (scopes,) if isinstance(scopes, str) else scopes, visitors
            ).declare(),
        )

    async def search(
        self, query: Annotated[SearchQuery, Query()], accept_language: AcceptLanguage = ""
    ) -> Response:
        """Items that match the search text, best first."""
        request = query.accepting(accept_language).build_request()
        return await self._answer(lambda engine: engine.recommend(request), request)

    async def recommend(
        self, query: Annotated[RecommendQuery, Query()], accept_language: AcceptLanguage = ""
    ) -> Response:
        """Items for a surface, best first."""
        request = query.accepting(accept_language).build_request()

        def call(engine: Engine) -> Answer:
            query.require_context(engine.needs(query.surface))
            return engine.recommend(request)

        return await self._answer(call, request)

    async def similar(
        self,
        item_id: Annotated[IdInPath, Path()],
        query: Annotated[SimilarQuery, Query()],
        accept_language: AcceptLanguage = "",
    ) -> Response:
        """Items similar to one item, best first."""
        request = query.accepting(accept_language).build_request(item_id)
        return await self._answer(lambda engine: engine.recommend(request), request)

    async def suggest(
        self,
        request: Request,
        query: Annotated[SuggestQuery, Query()],
        accept_language: AcceptLanguage = "",
    ) -> Response:
        """Suggested queries, best first."""
        get_caller(request).require_sight(query.user_id)
        is_visitor = get_caller(request).is_visitor
        wanted = query.accepting(accept_language).build_request()

        def call(engine: Engine) -> responses.SuggestionsOut:
            if is_visitor:
                require_public(engine, query.filter)
            return responses.build_suggestions(engine.suggest(wanted))

        body = await self._gate.read(call)
        return _respond(body, body["generation"], _BY_LANGUAGE)

    async def explain(
        self, query: Annotated[ExplainQuery, Query()], accept_language: AcceptLanguage = ""
    ) -> Response:
        """Why an item would be shown, or why not: evidence, features, stages, absence."""
        request = query.accepting(accept_language).build_request()

        def call(engine: Engine) -> responses.ExplanationOut:
            explanation = engine.explain(request, query.item_id)
            return responses.build_explanation(explanation, engine.generation)

        body = await self._gate.read(call)
        return _respond(body, body["generation"], _BY_LANGUAGE)

    async def item(self, item_id: Annotated[IdInPath, Path()]) -> Response:
        """One item with its semantic ID."""
        return await self._json(
            lambda engine: responses.build_item(get_item(engine, item_id), engine)
        )

    async def users(self, query: Annotated[UsersQuery, Query()]) -> Response:
        """The most active known users."""
        return await self._json(lambda engine: responses.build_users(engine.users(query.limit)))

    async def history(
        self, user_id: Annotated[IdInPath, Path()], query: Annotated[UsersQuery, Query()]
    ) -> Response:
        """A user's events, newest first; empty for an unknown user."""
        return await self._json(
            lambda engine: responses.build_history(user_id, engine.history(user_id, query.limit))
        )

    async def user(self, user_id: Annotated[IdInPath, Path()]) -> Response:
        """The attributes of a user; none for an unknown user."""
        return await self._json(lambda engine: responses.build_user(engine.user(user_id)))

    async def put_user(
        self, user_id: Annotated[IdInPath, Path()], user: Annotated[UserIn, Body()]
    ) -> Response:
        """Store the attributes of a user in place of all earlier ones."""
        stored = user.to_user(user_id)
        await self._gate.write(lambda engine: engine.put_user(stored))
        return _respond(responses.build_user(stored))

    async def add_events(self, request: Request, events: Annotated[EventRows, Body()]) -> Response:
        """Store one event or several; they are durable before the response."""
        now = time.time()
        rows = [event.to_event(now) for event in events]
        get_caller(request).require_visit(rows, now)
        counted = request.app.state.access.admit_events(request, rows)
        new = await self._gate.write_events(counted) if counted else 0
        self._metrics.add_events(len(rows))
        stored = responses.StoredOut(received=len(rows), new=new)
        with self._gate.holder.lease() as engine:
            unknown = engine.unknown_items(row.item_id for row in rows)
        if unknown:
            stored["unknown_items"] = unknown
        return _respond(stored)

    async def add_items(self, items: Annotated[ItemRows, Body()]) -> Response:
        """Store one item or several; they can be found and recommended from the response on.

        Pictures and sounds are encoded soon after it.
        """
        rows = [item.to_item() for item in items]

        def call(engine: Engine) -> responses.StoredItemsOut:
            new, left_out = engine.add_items(rows), engine.find_file_problems(rows)
            return responses.build_stored_items(len(rows), new, left_out)

        answer = await self._gate.write(call)
        self._metrics.add_items(len(rows))
        return _respond(answer)

    async def delete_item(self, item_id: Annotated[IdInPath, Path()]) -> Response:
        """Delete an item permanently."""
        if not await self._gate.write(lambda engine: engine.delete_item(item_id)):
            raise unknown_item_error(item_id)
        return _respond(responses.DeletedOut(item_id=item_id, deleted=True))

    async def erase_user(self, user_id: Annotated[IdInPath, Path()]) -> Response:
        """Erase a user: events, attributes and all that is known of them, also in other workers.

        Earlier events are not stored again. The answer is a receipt; asking again is another
        erasure, of what came since.
        """
        receipt = await self._gate.write(lambda engine: engine.erase_user(user_id))
        return _respond(responses.build_erasure(receipt))

    async def live(self) -> Response:
        """The process runs."""
        return _respond(responses.LiveOut(status="live"))

    async def ready(self) -> Response:
        """A generation is loaded and answers; waits for no other request.

        A worker whose requests hang is not ready.
        """
        holder = self._gate.holder
        if holder.is_hung:
            raise LateError("too many requests hang.", "Restart the service; its log says more.")
        status = holder.service_status
        if not status.workers:
            raise loading_error()
        return _respond(responses.build_ready(status), status.generation)

    async def metrics(self) -> Response:
        """Counters, gauges and latencies in the text format of Prometheus."""
        return Response(self._metrics.text(), media_type=self._metrics.content_type)

    async def _answer(self, call: Callable[[Engine], Answer], request: EngineRequest) -> Response:
        def build(answer: Callable[[Engine], Answer]) -> Callable[[Engine], responses.AnswerOut]:
            return lambda engine: responses.build_answer(answer(engine), engine)

        body = await self._gate.read_or(
            build(call),
            (
                build(lambda engine: engine.fall_back(request)),
                build(lambda engine: engine.fall_back(request, with_content=False)),
            ),
        )
        if not body["items"]:
            self._metrics.add_empty(body["surface"])
        if body["degraded"]:
            self._metrics.add_degraded(body["surface"])
        return _respond(body, body["generation"], _BY_LANGUAGE)

    async def _json(self, call: Callable[[Engine], Mapping[str, Any]]) -> Response:
        body = await self._gate.read(call)
        return _respond(body, body.get("generation", ""))


def _reading_body(endpoint: Endpoint) -> Endpoint:
    """An endpoint whose ``query`` is the JSON body, and not the parameters of the address."""

    @wraps(endpoint)
    async def post(*args: Any, **kwargs: Any) -> Response:
        return await endpoint(*args, **kwargs)

    signature = inspect.signature(endpoint, eval_str=True)
    query = signature.parameters["query"]
    body = query.replace(annotation=Annotated[get_args(query.annotation)[0], Body()])
    parameters = [body if one is query else one for one in signature.parameters.values()]
    post.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return post


def get_item(engine: Engine, item_id: str) -> Item:
    """Get the item with this id.

    Raises:
        UnknownItemError: it is not in the catalogue.
    """
    item = engine.item(item_id)
    if item is None:
        raise unknown_item_error(item_id)
    return item


def require_public(engine: Engine, filters: Iterable[str], sort: str = "") -> None:
    """Refuse tests of, and an order by, attributes that are not for people to see.

    Raises:
        DataError: one is, as if no item had the attribute, or a test is none.
    """
    names = [AttributeTest.parse(one).attribute for one in filters]
    names += [sort.removeprefix(DESCENDING)] if sort else []
    for name in names:
        if not engine.is_public(name):
            raise DataError(f"no item has the attribute {name[:80]!r}.")


def unknown_item_error(item_id: str) -> UnknownItemError:
    """The error for an id that is not in the catalogue."""
    return UnknownItemError(
        f"item {item_id[:80]!r} is not in the catalogue.", "Search finds ids by title."
    )


def _respond(
    body: Mapping[str, Any], generation: str = "", more: Mapping[str, str] | None = None
) -> Response:
    headers = {"x-generation": generation} if generation else {}
    headers |= more or {}
    return Response(dump(body), media_type=JSON_TYPE, headers=headers)
