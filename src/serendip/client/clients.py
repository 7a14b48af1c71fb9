"""Clients of the HTTP API, with and without ``async``.

``operations.json`` has what the API does, written from its OpenAPI document; each operation is a
method of both clients. Parameters and answers are the JSON of the API. ``types.pyi`` declares all
of it for type checkers alone.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack
from urllib.parse import quote

import httpx

from serendip.client.errors import ApiError
from serendip.client.events import EventSender

if TYPE_CHECKING:
    from serendip.client.types import AsyncOperations, EventIn, ItemOut, Operations
else:
    AsyncOperations = Operations = object

BACKOFF_S = 0.25  # at most before the first retry; twice as long before each further one
MAX_WAIT_S = 30.0  # before a retry, whatever the service asks for
PAGE = 1_000  # items per request of the catalogue
_OPERATIONS = json.loads(Path(__file__).with_name("operations.json").read_text())
_NOT_NOW = (0, 429, 503)  # statuses after which a request is sent again: none stores anything twice


class Api:
    """What both clients have in common.

    Args:
        address: of the service.
        key: one of ``serendip keys create``; empty = none, as for a service without keys.
        retries: how often a request is sent again that could not be answered.
        timeout_s: seconds that one attempt may take.
        verify: the certificates that are trusted, as httpx takes it.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8080",
        key: str = "",
        *,
        retries: int = 3,
        timeout_s: float = 10.0,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._retries = retries
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._options: dict[str, Any] = {"base_url": address, "headers": headers}
        self._options |= {"timeout": timeout_s, "verify": verify}
        self._http = httpx.Client(**self._options)
        self._events = EventSender(lambda events: self._send_now(_describe("add_events", events)))

    def record(self, **event: Unpack[EventIn]) -> None:
        """Send an event in the background, with others; returns at once."""
        self._events.add(event)

    def _send_now(self, request: Mapping[str, Any]) -> Any:
        for number in count():
            try:
                return _read(self._http.request(**request))
            except (ApiError, httpx.TransportError) as error:
                wait_s = self._find_wait(error, number)
            time.sleep(wait_s)

    def _find_wait(self, error: ApiError | httpx.TransportError, number: int) -> float:
        """Seconds after which a request is sent again; its error is raised if it is not."""
        if isinstance(error, httpx.TransportError):
            message = f"the service did not answer: {str(error) or type(error).__name__}."
            hint = "Is `serendip serve` running at this address?"
            error = ApiError(0, "unreachable", message, hint)
        if number >= self._retries or error.status not in _NOT_NOW:
            raise error
        backoff_s: float = BACKOFF_S * 2**number * random.uniform(0.5, 1.0)
        return min(max(backoff_s, error.retry_after_s), MAX_WAIT_S)


class Client(Api, Operations):
    """A client that waits for each answer; threads may share it."""

    send = Api._send_now

    def all_items(self) -> Iterator[ItemOut]:
        """The whole catalogue, in the order of the ids."""
        cursor, is_last = "", False
        while not is_last:
            page = self.list_items(cursor=cursor, limit=PAGE)
            yield from page["items"]
            cursor, is_last = page["cursor"], not page["cursor"]

    def flush(self, timeout_s: float = 10.0) -> int:
        """Send recorded events now; the number of those that are not stored after the timeout."""
        return self._events.flush(timeout_s)

    def close(self) -> None:
        """Send what was recorded, and close the connections."""
        if not self._events.close():
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncClient(Api, AsyncOperations):
    """A client whose answers are awaited; events are sent from a thread as well."""

    @cached_property
    def _async_http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(**self._options)

    async def all_items(self) -> AsyncIterator[ItemOut]:
        """The whole catalogue, in the order of the ids."""
        cursor, is_last = "", False
        while not is_last:
            page = await self.list_items(cursor=cursor, limit=PAGE)
            for item in page["items"]:
                yield item
            cursor, is_last = page["cursor"], not page["cursor"]

    async def send(self, request: Mapping[str, Any]) -> Any:
        """Send a request, and again where that may help."""
        for number in count():
            try:
                return _read(await self._async_http.request(**request))
            except (ApiError, httpx.TransportError) as error:
                wait_s = self._find_wait(error, number)
            await asyncio.sleep(wait_s)

    async def flush(self, timeout_s: float = 10.0) -> int:
        """Send recorded events now; the number of those that are not stored after the timeout."""
        return await asyncio.to_thread(self._events.flush, timeout_s)

    async def close(self) -> None:
        """Send what was recorded, and close the connections."""
        if not await asyncio.to_thread(self._events.close):
            self._http.close()
        await self._async_http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


def _make_method(name: str) -> Callable[..., Any]:
    def method(self: Any, *given: Any, **params: Any) -> Any:
        return self.send(_describe(name, *given, **params))

    method.__name__, method.__doc__ = name, _OPERATIONS[name]["text"]
    return method


for _name in _OPERATIONS:
    setattr(Api, _name, _make_method(_name))


def _describe(name: str, *given: Any, **params: Any) -> dict[str, Any]:
    """What httpx sends: an operation with the ids in its path or its rows, and with parameters."""
    operation = _OPERATIONS[name]
    names = operation["given"]
    if len(given) != len(names):
        raise TypeError(f"{name} takes by position: {', '.join(names) or 'nothing'}.")
    values = dict(zip(names, given, strict=True))
    if (rows := operation["rows"]) == "events":
        params = {rows: [{"event_id": uuid.uuid4().hex, **row} for row in values.pop(rows)]}
    elif rows:
        params = {rows: [*values.pop(rows)]}
    path = operation["path"].format(**{key: quote(id_, safe="") for key, id_ in values.items()})
    place = "params" if operation["method"] in ("GET", "DELETE") else "json"
    return {"method": operation["method"], "url": path, place: params}


def _read(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json()
    status, wait = response.status_code, response.headers.get("retry-after", "")
    try:
        error = ApiError(status, **response.json()["error"])
    except (ValueError, KeyError, TypeError):
        error = ApiError(status, "proxy", f"status {status}: {response.text[:200]}")
    error.retry_after_s = float(wait) if wait.isdecimal() else 0.0
    raise error
