"""CPU time that keys and a line in the log add to a request, in process.

Usage: python -m serendip_bench.scripts.key_cost WORKSPACE [--requests 4000] [--keys 100]

Asks one item again and again, the cheapest read, without keys, with one key of many, and
with a line of JSON in a log file for each answer, too; and asks for suggestions without keys and as
a visitor of the page. The ways take turns in blocks of 20 requests. One JSON line has milliseconds
of CPU time of the process: of the ways without keys the median block, of the others the median
difference from it in the same turn, with its quartiles. The keys are in a database of their own;
the workspace is read only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Scope

from serendip.runtime.threads import limit_threads

limit_threads(1)

from serendip.data.api_key import READ, issue_key
from serendip.data.store.store import Store
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.engine.config.serve import ServeConfig
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.serve.access import VISITOR_COOKIE, Access
from serendip.serve.app import build_app
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.key_ring import KeyRing
from serendip.serve.server_options import ServerOptions
from serendip.serve.telemetry.logs import set_up

_BLOCK = 20


async def ask(app: ASGIApp, path: str, headers: Mapping[str, str]) -> None:
    """Send one request.

    Raises:
        SystemExit: the response is an error.
    """
    target, _, query = path.partition("?")
    lines = {"host": "127.0.0.1", **headers}
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        "client": ("192.0.2.1", 1),
        "scheme": "http",
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise SystemExit(f"{path} responded with {message['status']}.")

    await app(scope, receive, send)


async def measure(
    ways: Mapping[str, tuple[ASGIApp, str, Mapping[str, str]]], requests: int
) -> dict[str, list[float]]:
    """Milliseconds of CPU time per request of each way, block by block."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(requests // _BLOCK + 5):
        for name, (app, path, headers) in ways.items():
            start = time.process_time()
            for _ in range(_BLOCK):
                await ask(app, path, headers)
            if number >= 5:  # the first blocks are the warm-up
                times[name].append((time.process_time() - start) / _BLOCK * 1000)
    return times


def summarise(times: Mapping[str, list[float]], base: str, others: list[str]) -> dict[str, object]:
    """The median of a way, and quartiles of what others take more."""
    differences = {
        name: [b - a for a, b in zip(times[base], times[name], strict=True)] for name in others
    }
    return {
        base: round(statistics.median(times[base]), 4),
        **{
            name: [round(value, 4) for value in statistics.quantiles(more, n=4)]
            for name, more in differences.items()
        },
    }


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--keys", type=int, default=100)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Store.create(Path(folder) / "keys.db")),
        closing(ApiKeys.open(Path(folder) / "keys.db")) as keys,
        closing(Engine.open(options.workspace)) as engine,
        (Path(folder) / "log.jsonl").open("w", encoding="utf-8") as log,
    ):
        set_up("json", log)
        issued = [issue_key("", [READ]) for _ in range(options.keys)]
        for one in issued:
            keys.add(one)
        ring = KeyRing(keys)
        ring.load()
        holder = EngineHolder()
        holder.swap(engine)
        item = engine.recommend(Request(k=1)).items[0].item_id
        path, suggest = f"/v1/items/{quote(item, safe='')}", "/v1/suggest?q=zqxj"
        key = {"authorization": f"Bearer {issued[-1].text}"}
        visitor = {"cookie": f"{VISITOR_COOKIE}={ring.sign(VISITOR_COOKIE, 'visitor-1')}"}
        is_open, is_keyed = build_app(holder), build_app(holder, Access(ring))
        is_logged = build_app(
            holder, Access(ring), ServerOptions(config=ServeConfig(access_log=True))
        )
        ways = {
            "item": (is_open, path, {}),
            "item with a key": (is_keyed, path, key),
            "item with a key and a log": (is_logged, path, key),
            "suggest": (is_open, suggest, {}),
            "suggest as a visitor": (is_keyed, suggest, visitor),
        }
        times = asyncio.run(measure(ways, options.requests))
    names = list(ways)
    found = summarise(times, names[0], names[1:3]) | summarise(times, names[3], names[4:])
    print(json.dumps({"cpu_ms": found, "keys": options.keys, "python": platform.python_version()}))


if __name__ == "__main__":
    main()
