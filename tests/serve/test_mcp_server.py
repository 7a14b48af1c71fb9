"""A client of the SDK talks to ``serendip mcp``, a process of its own, over standard streams."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_real_service import publish_copy

from serendip.cli.main import main
from serendip.data import Item
from serendip.engine.engine import Engine
from serendip.engine.request import Request

mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")

TOOLS = {"search", "recommend", "similar", "explain", "facets"}


def talk(folder: Path, talking: Callable[[Any], Awaitable[None]]) -> None:
    command = ["-m", "serendip", "mcp", "--workspace", os.fspath(folder)]
    parameters = mcp.StdioServerParameters(command=sys.executable, args=command, env={**os.environ})

    async def run() -> None:
        async with mcp.Client(parameters) as client:
            await talking(client)

    asyncio.run(run())


async def ask(client: Any, tool: str, **arguments: object) -> dict[str, Any]:
    """The structured answer, which the client has compared with the schema of the tool."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    (text,) = result.content
    assert json.loads(text.text) == result.structured_content
    return result.structured_content


async def refuse(client: Any, tool: str, **arguments: object) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return result.content[0].text


def test_an_assistant_finds_the_tools_and_is_answered_as_by_the_engine(shop: Path) -> None:
    async def talking(client: Any) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == TOOLS
        for tool in tools.values():
            assert "Attributes of the items: genre." in tool.description
            assert "Surfaces: home, similar," in tool.description
            assert tool.annotations.read_only_hint
            assert "parts" not in tool.input_schema["properties"]
        for name, asked in {
            "search": Request("search", text="comedy tale"),
            "recommend": Request("home", "u1"),
            "similar": Request("similar", item_ids=("i4",)),
        }.items():
            given: dict[str, object] = {"limit": 3}
            given |= {"q": asked.text} if asked.text else {}
            given |= {"user_id": asked.user_id} if asked.user_id else {}
            given |= {"item_id": "i4"} if asked.item_ids else {}
            answer, expected = (
                await ask(client, name, **given),
                engine.recommend(replace(asked, k=3)),
            )
            told = [(item["item_id"], item["title"], item["reason"]) for item in answer["items"]]
            assert told == [(item.item_id, item.title, item.reason) for item in expected.items]
            assert len(told) == 3
            for item in answer["items"]:
                assert item["attributes"] == dict(engine.item(item["item_id"]).attributes)
        why = await ask(client, "explain", item_id="i7", user_id="u1")
        assert [one["text"] for one in why["evidence"]]
        everything = (await ask(client, "facets", facet=["genre"]))["facets"]["genre"]["values"]
        assert everything == {"comedy": 20, "horror": 20, "western": 20}
        found = await ask(client, "facets", q="western", facet=["genre"])
        assert (found["facets"]["genre"]["values"], found["items"]) == ({"western": 20}, [])

    with Engine.open(shop) as engine:
        talk(shop, talking)


def test_errors_name_the_next_step(shop: Path) -> None:
    async def talking(client: Any) -> None:
        assert "Use one of: home, similar" in await refuse(client, "recommend", surface="shelf")
        assert "Add item_id=ID" in await refuse(client, "recommend", surface="cart")
        assert "Items have: genre." in await refuse(client, "search", q="tale", facet=["colour"])
        assert "greater than or equal to 1" in await refuse(client, "search", q="tale", limit=0)
        assert "Known names: " in await refuse(client, "similar", item="i1")
        assert "'i999' is not in the catalogue" in await refuse(client, "explain", item_id="i999")

    talk(shop, talking)


def test_what_people_do_not_see_is_neither_told_nor_asked_for(shop: Path) -> None:
    posted = Item("n1", "A secret tale", attributes={"genre": "horror", "cost": 31.75})

    async def talking(client: Any) -> None:
        told = [tool.model_dump_json() for tool in (await client.list_tools()).tools]
        told.append(json.dumps(await ask(client, "search", q="secret tale")))
        told.append(
            json.dumps(await ask(client, "explain", item_id="n1", q="secret", surface="search"))
        )
        for asked in ({"filter": "cost>=1"}, {"facet": "cost"}, {"sort": "-cost"}, {"facet": "x"}):
            told.append(await refuse(client, "search", q="secret", **asked))
        told.append(await refuse(client, "facets", facet=["cost"]))
        assert "A secret tale" in told[len(TOOLS)]
        assert not any(
            "31.75" in one or "cost" in one.replace("attribute 'cost'", "") for one in told
        )

    with Engine.open(shop) as engine:
        engine.add_items([posted])
        talk(shop, talking)


def test_new_items_and_generations_are_followed(shop: Path) -> None:
    async def talking(client: Any) -> None:
        engine.add_items([Item("n2", "The lighthouse")])
        publish_copy(shop)
        seen = set[tuple[str, str]]()
        async with asyncio.timeout(60):
            while ("gen-2", "n2") not in seen:
                answer = await ask(client, "search", q="lighthouse")
                seen |= {(answer["generation"], item["item_id"]) for item in answer["items"]}

    with Engine.open(shop) as engine:
        talk(shop, talking)


def test_a_workspace_without_a_generation_says_so(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["serendip", "mcp", "--workspace", os.fspath(fresh)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 4
    assert "serendip train" in capsys.readouterr().err
