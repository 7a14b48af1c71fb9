"""The tools of an assistant over one workspace, by the Model Context Protocol on standard input.

A tool takes the parameters of the endpoint with its name and answers as it does, with the
attributes of the items. Nothing in it tells an attribute that people do not see on the page.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_type_hints

import numpy as np
from mcp import types as protocol
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from pydantic import TypeAdapter

from serendip.data import Item
from serendip.engine.engine import Engine
from serendip.engine.listing import count_facets
from serendip.engine.request import Answer, Explanation
from serendip.errors import SerendipError
from serendip.serve.api import requests, types
from serendip.serve.api.responses import encode
from serendip.serve.api.routes import list_public, require_public
from serendip.serve.engine_holder import EngineHolder


class SimilarQuery(requests.SimilarParams):
    """A request for similar items."""

    item_id: types.Id
    """The item."""


def search(engine: Engine, query: requests.SearchParams) -> Answer:
    """Find items by words, filters or both, best first; typing errors are corrected."""
    return engine.recommend(query.build_request(surface="search"))


def recommend(engine: Engine, query: requests.RecommendParams) -> Answer:
    """Recommend items on a surface of the shop, to a user or to anybody, best first."""
    query.require_context(engine.needs(query.surface))
    return engine.recommend(query.build_request())


def similar(engine: Engine, query: SimilarQuery) -> Answer:
    """List items that are like one item, the most alike first."""
    return engine.recommend(query.build_request(surface="similar", item_ids=(query.item_id,)))


def explain(engine: Engine, query: requests.ExplainParams) -> Explanation:
    """Say why an item is, or is not, in the answer to a request, and what would change that."""
    explanation = engine.explain(query.build_request(), query.item_id).without_rules()
    return replace(explanation, parts={}, trace={})


def facets(engine: Engine, query: requests.SearchParams) -> Answer:
    """Count the values of attributes in what words or filters find; without both, in all items."""
    if query.text or query.filters:
        return replace(engine.recommend(query.build_request(surface="search")), items=(), next="")
    numbers = np.flatnonzero(~engine.state.hidden).astype(np.int32)
    counted = count_facets(numbers, query.facets, engine.state.catalogue)
    return Answer("", engine.generation, "search", (), facets=counted)


_TOOLS = {tool.__name__: tool for tool in (search, recommend, similar, explain, facets)}
_TYPES = {name: get_type_hints(tool) for name, tool in _TOOLS.items()}


def describe(engine: Engine) -> Iterator[protocol.Tool]:
    """The tools, with what they can be asked about this catalogue."""
    attributes, surfaces = list_public(engine), engine.settings.all_surfaces()
    about = f"Attributes of the items: {', '.join(attributes)}. Surfaces: {', '.join(surfaces)}."
    for name, kinds in _TYPES.items():
        takes, gives = TypeAdapter(kinds["query"]).json_schema(), TypeAdapter(kinds["return"])
        takes["properties"].pop("parts", None)  # the numbers of a score, such as bids
        yield protocol.Tool(
            name=name,
            description=f"{inspect.getdoc(_TOOLS[name])} {about}",
            input_schema=takes,
            output_schema=gives.json_schema(mode="serialization"),
            annotations=protocol.ToolAnnotations(read_only_hint=True),
        )


def answer(engine: Engine, name: str, arguments: dict[str, Any]) -> Any:
    """What a tool answers, with the public attributes of the items, and no numbers of scores.

    Raises:
        SerendipError: it cannot answer; the hint is the next step.
    """
    query = types.read(TypeAdapter(_TYPES[name]["query"]), arguments)
    own = {"description", "available_from"}
    named = {*getattr(query, "facets", ()), *getattr(query, "fields", ())} - own
    require_public(engine, query.filters, query.sort, sorted(named))
    document = json.loads(encode(_TOOLS[name](engine, query), _TYPES[name]["return"]))
    for found in document.get("items", ()):
        item = engine.item(found["item_id"]) or Item(found["item_id"])
        public = {name: item.attributes[name] for name in item.attributes if engine.is_public(name)}
        found |= {"parts": {}, "attributes": public}
    return document


async def serve(holder: EngineHolder) -> None:
    """Answer the client on standard input until it hangs up."""

    async def list_tools(*_: Any) -> protocol.ListToolsResult:
        with holder.lease() as engine:
            return protocol.ListToolsResult(tools=[*describe(engine)])

    async def call(_: Any, params: protocol.CallToolRequestParams) -> protocol.CallToolResult:
        try:
            with holder.lease() as engine:
                body = answer(engine, params.name, params.arguments or {})
        except SerendipError as error:
            told = protocol.TextContent(text=str(error))
            return protocol.CallToolResult(content=[told], is_error=True)
        told = protocol.TextContent(text=json.dumps(body, ensure_ascii=False))
        return protocol.CallToolResult(content=[told], structured_content=body)

    server = Server("serendip", on_list_tools=list_tools, on_call_tool=call)
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())
