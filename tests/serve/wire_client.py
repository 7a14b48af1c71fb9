"""An HTTP client for the whole application, middleware included, without a socket."""

import asyncio
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp
from tiny_engine import TinyEngine

from serendip.data.api_key import IssuedKey, issue_key
from serendip.data.store.store import Store
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.engine.config.serve import ServeConfig
from serendip.serve.access import Access
from serendip.serve.app import build_app
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.gate import EngineGate
from serendip.serve.server_options import LOCAL, ServerOptions


class WireClient:
    def __init__(self, engine: TinyEngine | None = None, options: ServerOptions = LOCAL) -> None:
        self.engine = engine or TinyEngine()
        self.holder = EngineHolder()
        self.holder.swap(self.engine)
        self.access = Access(options)
        self.gate = EngineGate(self.holder, options)
        self.app: ASGIApp = build_app(self.gate, self.access)

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
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message", "hint", "request_id"}
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    return body["error"]


def open_keys(folder: Path) -> ApiKeys:
    path = folder / "serendip.db"
    if not path.exists():
        with closing(Store.create(path)):
            pass
    return ApiKeys.open(path)


class KeyedService(WireClient):
    """A service with a key; it reads the keys again when it is told to."""

    def __init__(
        self,
        folder: Path,
        engine: TinyEngine | None = None,
        events_per_minute: int | None = None,
        logs_answers: bool = False,
    ) -> None:
        self.keys = open_keys(folder)
        config = ServeConfig(access_log=logs_answers, visitor_events_per_minute=events_per_minute)
        super().__init__(engine, ServerOptions(config=config, open_keys=lambda: self.keys))
        self.any_key = self.issue(["read"])

    def issue(self, scopes: Iterable[str], lifetime_s: float | None = None) -> IssuedKey:
        issued = issue_key("", scopes, lifetime_s)
        self.keys.add(issued)
        self.access.load()
        return issued

    def sign_in(self, *scopes: str) -> dict[str, str]:
        response = self.post("/sign-in", data={"key": self.issue(scopes).text})
        assert response.status_code == 303, response.text
        return self.visit() | dict(response.cookies)

    def visit(self) -> dict[str, str]:
        return dict(self.get("/").cookies)

    def close(self) -> None:
        self.access.close()


def bearer(issued: IssuedKey | str) -> dict[str, str]:
    text = issued if isinstance(issued, str) else issued.text
    return {"authorization": f"Bearer {text}"}


def as_cookie(cookies: dict[str, str]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def visitor_of(response: httpx.Response) -> str:
    return response.text.partition('data-user="')[2].partition('"')[0]
