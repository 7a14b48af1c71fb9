"""Seconds of an erasure, and many erasures while a service answers.

Usage: python -m serendip_bench.scripts.erasure SHOP_DIR WORKSPACE [--erasures 1000]
           [--tail 20000] [--json FILE]

SHOP_DIR has ``items.parquet`` (``sku``, ...) and ``events.parquet`` (``customer``, ``sku``,
``when``, ``action``). Its items and events are imported into WORKSPACE, which is made if it is
missing, beside a generation of 10,000 of the items without training
(``serendip_bench.large_state``), attributes of every tenth user, and a tail of posted events.

1. The most active users and some with a known name are erased one after the other, as a service
   does it: seconds until the receipt is there, from when on no answer knows the user. Then bytes
   are removed once, and all files of the workspace are searched for the names.
2. The service runs in a process of its own. Users are erased one after the other while others ask
   for home and search, and post events and attributes: numbers of answers by status, percentiles in
   milliseconds, and seconds until no byte of anybody is left.

One JSON line; the workspace has fewer users afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serendip.data.events.event import Event
from serendip.data.store.item_rows import tabulate_items
from serendip.data.store.store import Store
from serendip.data.users.user import User
from serendip.engine.artefacts.erasure import Eraser
from serendip.engine.artefacts.generations import publish
from serendip.engine.engine import Engine
from serendip.engine.workspace import Workspace
from serendip_bench.large_state import build_state, save_state, shop_items, write_workspace
from serendip_bench.latency import compute_percentiles
from serendip_bench.service import HttpClient, run_service

_GENERATION_ITEMS = 10_000
_NAMED = 5
_EVENTS_OF_NAMED = 60
_BATCH = 1_000
_LONGEST_WAIT_S = 1_800.0

Sent: TypeAlias = tuple[str, str, object]
"""Method, path and body of a request."""


def name_of(number: int) -> str:
    """Id of a user whose bytes can be searched for."""
    return f"named-person-{number}@example.com"


def prepare(shop: Path, folder: Path, num_tail: int) -> None:
    """Make the workspace."""
    write_workspace(folder, _GENERATION_ITEMS)
    workspace = Workspace.open(folder)
    events = pq.read_table(shop / "events.parquet", columns=["customer", "sku", "when", "action"])
    num_items = pq.read_metadata(shop / "items.parquet").num_rows
    users = pc.unique(events["customer"]).to_pylist()
    with closing(workspace.open_store()) as store:
        store.import_tables(
            lambda: tabulate_items(shop_items(num_items, 0)),
            lambda: _with_named(events),
            lambda: [User(user, {"plan": "paid", "city": user[-2:]}) for user in users[::10]],
        )
        _post_tail(store, users, num_tail)
        mark = store.log.position()
        facts = {
            "item_version": store.max_version(),
            "event_seq": mark.seq,
            "event_removals": mark.removals,
            "counts": {},
        }
    state = build_state(_GENERATION_ITEMS, folder / "words again")
    publish(workspace.generations, partial(save_state, state), facts)


def _with_named(events: pa.Table) -> pa.Table:
    """The events of the shop, and those of the named users, all over them."""
    rows = np.linspace(0, len(events) - 1, _NAMED * _EVENTS_OF_NAMED).astype(np.int64)
    names = [name_of(number % _NAMED) for number in range(len(rows))]
    named = events.take(pa.array(rows)).set_column(0, "customer", pa.array(names))
    both = pa.concat_tables([events, named.cast(events.schema)])
    return pa.table(
        {
            "user_id": both["customer"].dictionary_encode(),
            "item_id": both["sku"].dictionary_encode(),
            "timestamp": both["when"].cast("float64"),
            "action": both["action"].dictionary_encode(),
        }
    )


def _post_tail(store: Store, users: Sequence[str], count: int) -> None:
    rng, now = np.random.default_rng(0), time.time()
    names = [*(users[row] for row in rng.integers(0, len(users), count)), *map(name_of, range(5))]
    for begin in range(0, len(names), _BATCH):
        store.put_events(
            Event(name, "sku-00000001", now - 1.0, "view") for name in names[begin : begin + _BATCH]
        )
    for number in range(_NAMED):
        store.users.put(User(name_of(number), {"plan": "paid", "mail": name_of(number)}))


def erase_named(folder: Path) -> dict[str, Any]:
    """Erase the named users and search for them."""
    seconds: list[float] = []
    workspace = Workspace.open(folder)
    with closing(Engine.open(folder)) as engine, closing(workspace.open_store()) as store:
        engine.history(name_of(0))  # the first one opens what the next ones find open
        eraser = Eraser(workspace, store)
        active = [user for user, _ in engine.users(_NAMED)]
        for user in (*active, *map(name_of, range(_NAMED))):
            begun = time.perf_counter()
            receipt = engine.erase_user(user)
            seconds.append(time.perf_counter() - begun)
            assert receipt.events > _EVENTS_OF_NAMED, receipt.events
            assert engine.history(user) == []
        engine._remover.close()  # bytes are removed here, to be measured
        before, begun = os.times(), time.perf_counter()
        eraser.remove_remains()
        removal_s, after = time.perf_counter() - begun, os.times()
        assert not eraser.has_remains()
    return {
        "erasure_s": {"median": round(float(np.median(seconds)), 3), "max": round(max(seconds), 3)},
        "removal_s": round(removal_s, 1),
        "removal_cpu_s": round(after.user + after.system - before.user - before.system, 1),
        "files_with_names": search(folder),
    }


def search(folder: Path) -> list[str]:
    """Files that have a name."""
    names = [name_of(number).encode() for number in range(_NAMED)]
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if any(name in content for name in names):
            found.append(path.relative_to(folder).as_posix())
    return found


def ask(netloc: str, requests: Iterator[Sent], ended: threading.Event) -> dict[str, Any]:
    """Send requests one after the other until the end; statuses and percentiles."""
    statuses, milliseconds = Counter[int](), []
    with closing(HttpClient(netloc)) as client:
        for method, path, body in requests:
            if ended.is_set():
                break
            reply = client.ask(method, path, None if body is None else json.dumps(body).encode())
            statuses[reply.status] += 1
            milliseconds.append(reply.seconds * 1000)
    return {
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "failures": sum(count for status, count in statuses.items() if not 200 <= status < 400),
        "ms": compute_percentiles(sorted(milliseconds)),
    }


def erase_under_load(folder: Path, count: int) -> dict[str, Any]:
    """Erase users of a running service, while others read and write."""
    workspace = Workspace.open(folder)
    with closing(workspace.open_store()) as store:
        users = [user for user, _ in store.log.active_users(2 * count + 2_000)][-2 * count :]
        begun = len(store.erasures().by_digest)
    erased, others = users[::2], users[1::2]
    kinds = {"read": _reads(others), "post": _posts(others), "attributes": _attributes(others)}
    ended = threading.Event()
    with run_service(folder) as service, ThreadPoolExecutor(len(kinds)) as pool:
        loads = {
            name: pool.submit(ask, service.netloc, requests, ended)
            for name, requests in kinds.items()
        }
        deletions: Iterator[Sent] = (("DELETE", f"/v1/users/{user}", None) for user in erased)
        found = {"erase": ask(service.netloc, deletions, ended)}
        ended.set()
        found |= {name: load.result() for name, load in loads.items()}
        remains_s = _wait_for_end(workspace, time.perf_counter())
    with closing(workspace.open_store()) as store:
        assert len(store.erasures().by_digest) == begun + count
        left = [user for user in erased if store.log.history(user, 1)]
    failures = sum(part["failures"] for part in found.values())
    return {**found, "failures": failures, "known_after": left, "remains_s": remains_s}


def _wait_for_end(workspace: Workspace, since: float) -> float | None:
    """Seconds until a service has removed all bytes; None = it did not in time."""
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        while (seconds := time.perf_counter() - since) < _LONGEST_WAIT_S:
            if not eraser.has_remains():
                return round(seconds, 1)
            time.sleep(1.0)
    return None


def _reads(users: Sequence[str]) -> Iterator[Sent]:
    while True:
        for number, user in enumerate(users):
            yield "GET", f"/v1/recommend?surface=home&user_id={user}&limit=10", None
            yield "GET", f"/v1/search?q=sku+{number}&user_id={user}", None


def _posts(users: Sequence[str]) -> Iterator[Sent]:
    while True:
        for number, user in enumerate(users):
            event = {"user_id": user, "item_id": f"sku-{number:08d}", "action": "view"}
            yield "POST", "/v1/events", {"events": [event]}


def _attributes(users: Sequence[str]) -> Iterator[Sent]:
    while True:
        for user in users:
            yield "PUT", f"/v1/users/{user}", {"attributes": {"plan": "paid"}}


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shop", type=Path)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--erasures", type=int, default=1_000)
    parser.add_argument("--tail", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.workspace.exists():
        prepare(options.shop, options.workspace, options.tail)
    with closing(Workspace.open(options.workspace).open_store()) as store:
        size = {"items": store.count_items(), "events": store.log.count()}
    found = {"benchmark": "erasure", **size, **erase_named(options.workspace)}
    print(json.dumps(found), file=sys.stderr)  # a run that is ended early has said something
    found |= {"under_load": erase_under_load(options.workspace, options.erasures)}
    found |= {"python": platform.python_version()}
    print(json.dumps(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
