"""An HTTP client for the whole application, middleware included, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp
from tiny_engine import TinyEngine

from serendip.serve.access import Access
from serendip.serve.app import build_app
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.server_options import LOCAL, ServerOptions


class WireClient:
    """One service over a tiny engine."""

    def __init__(
        self,
        engine: TinyEngine | None = None,
        access: Access | None = None,
        options: ServerOptions = LOCAL,
    ) -> None:
        self.engine = engine or TinyEngine()
        self.holder = EngineHolder()
        self.holder.swap(self.engine)
        self.app: ASGIApp = build_app(self.holder, access, options)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self.ask_async(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    async def ask_async(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **options)


def error_of(response: httpx.Response) -> dict[str, str]:
    """The error of a response, with its format checked."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message", "hint", "request_id"}
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    error: dict[str, str] = body["error"]
    return error
