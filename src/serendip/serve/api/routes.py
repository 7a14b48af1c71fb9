"""The HTTP API: one function per route; what they answer is in ``written``.

Reads take the same names as parameters of a GET and as the JSON body of a POST. Bodies are read
by ``strict_json`` and not by the framework, which would accept NaN and duplicate keys.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from serendip.engine.answer import Answer
from serendip.errors import UnknownItemError
from serendip.serve.api import requests, responses, types
from serendip.serve.api.openapi import Documented
from serendip.serve.api.strict_json import parse
from serendip.serve.engine_holder import EnginePool, still_loading
from serendip.serve.engine_protocol import EngineProtocol
from serendip.serve.metrics import ServiceMetrics
from serendip.serve.middleware import JSON_TYPE, dump

ModelT = TypeVar("ModelT", bound=BaseModel)


class Routes:
    """The API over one set of workers."""

    def __init__(self, workers: EnginePool, measures: ServiceMetrics) -> None:
        self._workers, self._measures = workers, measures
        self.router = APIRouter()
        self._add_reads()
        self._add_writes()
        self._add_operations()

    def _add_reads(self) -> None:
        both = ("GET", "POST")
        self._add("/v1/search", self.search, both, requests.SearchQuery)
        self._add("/v1/recommend", self.recommend, both, requests.RecommendQuery)
        self._add("/v1/suggest", self.suggest, both, requests.SuggestQuery)
        self._add("/v1/explain", self.explain, both, requests.ExplainQuery)
        self._add("/v1/items/{item_id:path}/similar", self.similar, both, requests.SimilarQuery)
        self._add("/v1/users", self.users, ("GET",), requests.UsersQuery)
        self._add("/v1/users/{user_id:path}/history", self.history, ("GET",), requests.UsersQuery)
        self._add("/v1/items/{item_id:path}", self.item, ("GET",))

    def _add_writes(self) -> None:
        self._add("/v1/events", self.add_events, ("POST",), requests.EventIn)
        self._add("/v1/items", self.add_items, ("POST",), requests.ItemIn)
        self._add("/v1/items/{item_id:path}", self.delete_item, ("DELETE",))

    def _add_operations(self) -> None:
        self._add("/health/live", self.live, ("GET",))
        self._add("/health/ready", self.ready, ("GET",))
        self._add("/metrics", self.metrics, ("GET",))

    def _add(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        methods: tuple[str, ...],
        model: type[BaseModel] | None = None,
    ) -> None:
        for method in methods:
            extra = Documented(path, method, model).extra()
            name = endpoint.__name__
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                response_model=None,
                openapi_extra=extra,
                operation_id=f"{method.lower()}_{name}",
            )

    async def search(self, request: Request) -> Response:
        """Items that match what was typed, best first."""
        asked = await _read(request, requests.SearchQuery)
        return await self._answer(lambda engine: engine.recommend(asked.request()))

    async def recommend(self, request: Request) -> Response:
        """Items for a surface, best first."""
        asked = await _read(request, requests.RecommendQuery)

        def call(engine: EngineProtocol) -> Answer:
            asked.require_context(engine.needs(asked.surface))
            return engine.recommend(asked.request())

        return await self._answer(call)

    async def similar(self, request: Request) -> Response:
        """Items like one item, best first."""
        item_id = _path_id(request, "item_id")
        asked = await _read(request, requests.SimilarQuery)
        return await self._answer(lambda engine: engine.recommend(asked.request(item_id)))

    async def suggest(self, request: Request) -> Response:
        """Queries worth typing next, best first."""
        asked = await _read(request, requests.SuggestQuery)
        return await self._json(
            lambda engine: responses.suggestions(engine.suggest(asked.request()))
        )

    async def explain(self, request: Request) -> Response:
        """Why an item would be shown: evidence, numbers, stages."""
        asked = await _read(request, requests.ExplainQuery)

        def call(engine: EngineProtocol) -> dict[str, Any]:
            explanation = engine.explain(asked.request(), asked.item_id)
            return responses.explanation(explanation, engine.generation)

        return await self._json(call)

    async def item(self, request: Request) -> Response:
        """One item with its codes."""
        item_id = _path_id(request, "item_id")
        return await self._json(lambda engine: responses.item(known_item(engine, item_id), engine))

    async def users(self, request: Request) -> Response:
        """The most active known users."""
        asked = await _read(request, requests.UsersQuery)

        def call(engine: EngineProtocol) -> dict[str, Any]:
            rows = engine.users(asked.limit)
            return {"users": [{"user_id": name, "num_events": count} for name, count in rows]}

        return await self._json(call)

    async def history(self, request: Request) -> Response:
        """A user's events, newest first; empty for an unknown user."""
        user_id = _path_id(request, "user_id")
        asked = await _read(request, requests.UsersQuery)

        def call(engine: EngineProtocol) -> dict[str, Any]:
            events = engine.history(user_id, asked.limit)
            return {"user_id": user_id, "events": [responses.event(one) for one in events]}

        return await self._json(call)

    async def add_events(self, request: Request) -> Response:
        """Store one event or many; durable when it answers."""
        events = requests.read_events(parse(await request.body()), time.time())
        new = await self._workers.write(lambda engine: engine.add_events(events))
        self._measures.add_events(len(events))
        return _reply({"received": len(events), "new": new})

    async def add_items(self, request: Request) -> Response:
        """Store one item or many; findable and recommendable when it answers."""
        items = requests.read_items(parse(await request.body()))
        new = await self._workers.write(lambda engine: engine.add_items(items))
        self._measures.add_items(len(items))
        return _reply({"received": len(items), "new": new})

    async def delete_item(self, request: Request) -> Response:
        """Take an item out for good."""
        item_id = _path_id(request, "item_id")
        if not await self._workers.write(lambda engine: engine.delete_item(item_id)):
            raise unknown_item(item_id)
        return _reply({"item_id": item_id, "deleted": True})

    async def live(self, request: Request) -> Response:
        """The process runs."""
        return _reply({"status": "live"})

    async def ready(self, request: Request) -> Response:
        """A generation is loaded and answers; said without waiting for any request or write."""
        holder = self._workers.holder
        generation = holder.generation
        if not generation:
            raise still_loading()
        state = {
            "degraded": holder.is_degraded,
            "refused_generation": holder.refused_generation,
            "storage_problem": holder.storage_problem,
        }
        return _reply({"status": "ready", "generation": generation, **state}, generation)

    async def metrics(self, request: Request) -> Response:
        """Counters and timings in the text format of Prometheus."""
        return Response(self._measures.text(), media_type=self._measures.content_type)

    async def _answer(self, call: Callable[[EngineProtocol], Answer]) -> Response:
        def written_answer(engine: EngineProtocol) -> Any:
            return responses.answer(call(engine), engine)

        body = await self._workers.read(written_answer)
        if not body["items"]:
            self._measures.add_empty(body["surface"])
        return _reply(body, body["generation"])

    async def _json(self, call: Callable[[EngineProtocol], dict[str, Any]]) -> Response:
        body = await self._workers.read(call)
        return _reply(body, body.get("generation", ""))


def known_item(engine: EngineProtocol, item_id: str) -> Any:
    """The item.

    Raises:
        UnknownItemError: it is not in the catalogue.
    """
    item = engine.item(item_id)
    if item is None:
        raise unknown_item(item_id)
    return item


def unknown_item(item_id: str) -> UnknownItemError:
    """The error for an id that the catalogue does not have."""
    return UnknownItemError(
        f"item {item_id[:80]!r} is not in the catalogue.", "Search finds ids by title."
    )


async def _read(request: Request, model: type[ModelT]) -> ModelT:
    """A request as its model: parameters of a GET, the JSON body of a POST."""
    if request.method == "POST":
        return types.read(model, parse(await request.body()))
    parameters = request.query_params
    repeated = types.repeated_names(model)
    return types.read(
        model,
        {
            name: parameters.getlist(name) if name in repeated else parameters[name]
            for name in parameters
        },
    )


def _path_id(request: Request, name: str) -> str:
    return types.read(requests.PathId, {"id": request.path_params[name]}).id


def _reply(body: dict[str, Any], generation: str = "") -> Response:
    headers = {"x-generation": generation} if generation else None
    return Response(dump(body), media_type=JSON_TYPE, headers=headers)
