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
import http.client
import json
import os
import platform
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

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
from serendip_bench.large_state import build_state, shop_items, write_workspace
from serendip_bench.latency import compute_percentiles
from serendip_bench.service import run_service

_GENERATION_ITEMS = 10_000
_NAMED = 5
_EVENTS_OF_NAMED = 60
_BATCH = 1_000
_LONGEST_WAIT_S = 1_800.0


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
    publish(workspace.generations, state.save, facts)


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
    """Events as a service stores them, some of them of the named users."""
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


class LoadClient(threading.Thread):
    """Sends requests one after the other until it is told to stop.

    Args:
        netloc: of the service.
        kind: name of the requests.
        requests: (method, path, body) of each.
    """

    def __init__(self, netloc: str, kind: str, requests: Iterator[tuple[str, str, Any]]) -> None:
        super().__init__(name=kind)
        self.kind, self._requests = kind, requests
        self._connection = http.client.HTTPConnection(netloc, timeout=60)
        self.is_over = False
        self.statuses: Counter[int] = Counter()
        self.milliseconds: list[float] = []

    def run(self) -> None:
        """Ask."""
        for method, path, body in self._requests:
            if self.is_over:
                break
            begun = time.perf_counter()
            text = None if body is None else json.dumps(body)
            self._connection.request(method, path, text, {"content-type": "application/json"})
            response = self._connection.getresponse()
            response.read()
            self.statuses[response.status] += 1
            self.milliseconds.append((time.perf_counter() - begun) * 1000)
        self._connection.close()

    def summarise(self) -> dict[str, Any]:
        """Statuses and percentiles."""
        return {
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "ms": compute_percentiles(sorted(self.milliseconds)),
        }


def erase_under_load(folder: Path, count: int) -> dict[str, Any]:
    """Erase users of a running service."""
    workspace = Workspace.open(folder)
    with closing(workspace.open_store()) as store:
        users = [user for user, _ in store.log.active_users(2 * count + 2_000)][-2 * count :]
        begun = len(store.erasures().by_digest)
    erased, others = users[::2], users[1::2]
    with run_service(folder) as service:
        readers = [
            LoadClient(service.netloc, "read", _reads(others)),
            LoadClient(service.netloc, "post", _posts(others)),
            LoadClient(service.netloc, "attributes", _attributes(others)),
        ]
        eraser = LoadClient(
            service.netloc, "erase", (("DELETE", f"/v1/users/{user}", None) for user in erased)
        )
        for client in (*readers, eraser):
            client.start()
        eraser.join()
        for client in readers:
            client.is_over = True
            client.join()
        ended = time.perf_counter()
        remains_s = _wait_for_end(workspace, ended)
    with closing(workspace.open_store()) as store:
        assert len(store.erasures().by_digest) == begun + count
        left = [user for user in erased if store.log.history(user, 1)]
    clients = {client.kind: client.summarise() for client in (eraser, *readers)}
    failures = sum(
        number
        for client in (eraser, *readers)
        for status, number in client.statuses.items()
        if status >= 400
    )
    return {**clients, "failures": failures, "known_after": left, "remains_s": remains_s}


def _wait_for_end(workspace: Workspace, since: float) -> float | None:
    """Seconds until a service has removed all bytes; None = it did not in time."""
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        while (seconds := time.perf_counter() - since) < _LONGEST_WAIT_S:
            if not eraser.has_remains():
                return round(seconds, 1)
            time.sleep(1.0)
    return None


def _reads(users: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    while True:
        for number, user in enumerate(users):
            yield "GET", f"/v1/recommend?surface=home&user_id={user}&k=10", None
            yield "GET", f"/v1/search?q=sku+{number}&user_id={user}", None


def _posts(users: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    while True:
        for number, user in enumerate(users):
            event = {"user_id": user, "item_id": f"sku-{number:08d}", "action": "view"}
            yield "POST", "/v1/events", {"events": [event]}


def _attributes(users: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
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
