"""The service, asked over HTTP as a user asks.

Shapes: U users.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from serendip.engine.fallback import PERSONAL
from serendip.errors import DataError
from serendip.evaluate.runs import Values
from serendip.runtime.progress import Progress
from serendip_bench.scripts.service import run_service
from serendip_bench.served.data import DAY, NEWEST, ServedUsers

ASKED_AT = NEWEST + DAY
"""Unix seconds of the posted events and of the requests."""

K = 10
"""Items that are asked for."""

EXPLORED_TOO = 10
"""Further items that are asked for where items were posted: more than are explored, so that the
first ten by score are among them."""

_BATCH = 100
"""Items of one post."""


def ask_service(
    workspace: Path,
    users: ServedUsers,
    posted: Sequence[Mapping[str, str]],
    progress: Progress,
) -> tuple[Values, Values, dict[str, Any]]:
    """Post items, then ask for every user.

    Returns:
        ranks (U,) of the targets in the answers, inf if they are not in them; the same in the
        order of the scores; costs of serving, without those of the posts.
    """
    shown, by_score = np.full(len(users), np.inf), np.full(len(users), np.inf)
    count = K + EXPLORED_TOO if posted else K
    with (
        run_service(workspace, still_at=ASKED_AT) as service,
        closing(http.client.HTTPConnection(service.netloc)) as connection,
    ):
        for begin in range(0, len(posted), _BATCH):
            post_items(connection, posted[begin : begin + _BATCH])
        started = service.cpu_s()
        for row in progress.track(range(len(users)), "users asked", len(users)):
            items = ask_user(connection, users.ids[row], users.posted[row], count)
            best = sorted(items, key=lambda item: -float(item["score"]))  # stable
            shown[row] = _rank_of(users.targets[row], items)
            by_score[row] = _rank_of(users.targets[row], best)
        spent = service.cpu_s() - started
        serving = {
            "start_cpu_s": round(started, 1),
            "cpu_s": round(spent, 1),
            "cpu_ms_per_user": round(1_000 * spent / max(len(users), 1), 2),
            "peak_mb": _read_peak_mb(service.pid),
            "ready_s": round(service.ready_s, 1),
        }
    return shown, by_score, serving


def post_items(connection: http.client.HTTPConnection, items: Sequence[Mapping[str, str]]) -> None:
    """Post items with their category as an attribute."""
    rows = [
        {"item_id": item["item_id"], "title": item["title"], "attributes": {"category": path}}
        if (path := item["category"])
        else {"item_id": item["item_id"], "title": item["title"]}
        for item in items
    ]
    _request(connection, "POST", "/v1/items", {"items": rows})


def ask_user(
    connection: http.client.HTTPConnection, user_id: str, item_id: str, count: int = K
) -> list[dict[str, Any]]:
    """Post an event of a user, then ask for items of their home surface."""
    event = {"user_id": user_id, "item_id": item_id, "timestamp": ASKED_AT}
    _request(connection, "POST", "/v1/events", {"events": [event]})
    path = f"/v1/recommend?{urlencode({'surface': 'home', 'user_id': user_id, 'k': count})}"
    return list(_request(connection, "GET", path)["items"])


def _rank_of(item_id: str, items: Sequence[Mapping[str, Any]]) -> float:
    """The rank of an item among the first ten, from 1; inf if it is not among them."""
    ids = [item["item_id"] for item in items[:K]]
    return 1.0 + ids.index(item_id) if item_id in ids else np.inf


def _request(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None
) -> Any:
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status >= 300:
        raise DataError(f"{method} {path}: status {response.status}, {answer[:300]!r}.")
    document = json.loads(answer)
    if PERSONAL in document.get("degraded", ()):
        raise DataError(
            f"{method} {path}: answered from less, by a service that failed or was too slow.",
            "See its messages; beside other work a machine may be too slow for the deadline.",
        )
    return document


def _read_peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024, 1)
