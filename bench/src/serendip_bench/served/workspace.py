"""The trained workspace, and its service, asked over HTTP as a user asks.

Shapes: U users.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from serendip.data.item_list import ItemList
from serendip.engine.engine import Engine
from serendip.engine.fallback import PERSONAL
from serendip.engine.request import Request
from serendip.errors import DataError
from serendip.evaluate.runs import Values, ranks_from_lists
from serendip.jobs.surface_quality.answers import first_items
from serendip.jobs.whole_answers import BATCH
from serendip.runtime.atomic_files import write_json
from serendip.runtime.progress import Progress
from serendip_bench.processes import run_measured
from serendip_bench.served.data import DAY, NEWEST, ServedData, ServedUser
from serendip_bench.service import HttpClient, require_success, run_service

ASKED_AT = NEWEST + DAY
"""Unix seconds of the posted events and of the requests."""

K = 10
"""Items that are asked for."""

_EXPLORED = 10
"""Further items that are asked for where items were posted: more than are explored, so that the
first ten by score are among them."""

_ITEMS_PER_POST = 100


def make_workspace(data: ServedData, work: Path) -> dict[str, Any]:
    """Write the files, run ``init`` and ``train`` in ``work/workspace``; costs of both.

    A trained workspace of the same data and seed is used again.

    Raises:
        DataError: a command failed.
    """
    done, workspace, trained = work / "trained.json", work / "workspace", work / "trained"
    shutil.rmtree(workspace, ignore_errors=True)
    known: dict[str, Any] = json.loads(done.read_text(encoding="utf-8")) if done.exists() else {}
    if known.get("digest") == data.digest() and trained.is_dir():
        shutil.copytree(trained, workspace)
        return dict(known["costs"])
    shutil.rmtree(trained, ignore_errors=True)
    data.write_files(work)
    paths = ("--items", work / "items.jsonl", "--events", work / "events.csv")
    costs = {
        "init": run_command("init", *paths, "--workspace", workspace),
        "train": run_command("train", "--workspace", workspace, "--seed", data.seed),
    }
    # The service writes into the workspace: every run asks a copy of what was trained.
    shutil.copytree(workspace, trained)
    write_json(done, {"digest": data.digest(), "costs": costs})
    return costs


def run_command(*arguments: object) -> dict[str, float]:
    """Run a command of the product in a process of its own; its costs.

    Raises:
        DataError: it failed; the message has its last lines.
    """
    return run_measured([sys.executable, "-m", "serendip", *arguments])


def ask_service(
    workspace: Path,
    users: Sequence[ServedUser],
    posted: Sequence[Mapping[str, str]],
    progress: Progress,
) -> tuple[Values, Values, dict[str, Any]]:
    """Post items, then an event of every user, and ask for their home.

    Returns:
        ranks (U,) of the targets in the answers, inf if they are not in them; the same in the
        order of the scores; costs of serving, without those of the posted items.
    """
    shown, by_score = np.full((2, len(users)), np.inf)
    count = K + _EXPLORED if posted else K
    with (
        run_service(workspace, still_at=ASKED_AT) as service,
        closing(HttpClient(service.netloc)) as client,
    ):
        for begin in range(0, len(posted), _ITEMS_PER_POST):
            items = [_to_body(item) for item in posted[begin : begin + _ITEMS_PER_POST]]
            require_success("/v1/items", client.post("/v1/items", {"items": items}))
        started = service.cpu_s()
        for row, user in enumerate(progress.track(users, "users asked", len(users))):
            items = ask_user(client, user, count)
            best = sorted(items, key=lambda item: -float(item["score"]))  # stable
            shown[row], by_score[row] = _rank_of(user.target, items), _rank_of(user.target, best)
        spent = service.cpu_s() - started
        serving = {
            "start_cpu_s": round(started, 1),
            "cpu_s": round(spent, 1),
            "cpu_ms_per_user": round(1_000 * spent / max(len(users), 1), 2),
            "peak_mb": round(service.memory_mb("VmHWM"), 1),
            "ready_s": round(service.ready_s, 1),
        }
    return shown, by_score, serving


def _to_body(item: Mapping[str, str]) -> dict[str, Any]:
    attributes = {"category": item["category"]} if item["category"] else {}
    return {"item_id": item["item_id"], "title": item["title"], "attributes": attributes}


def ask_user(client: HttpClient, user: ServedUser, count: int = K) -> list[dict[str, Any]]:
    """Post an event of a user, then ask for items of their home surface.

    Raises:
        DataError: the answer is one from less.
        StorageError: there is none.
    """
    event = {"user_id": user.user_id, "item_id": user.posted, "timestamp": ASKED_AT}
    require_success("/v1/events", client.post("/v1/events", {"events": [event]}))
    asked = urlencode({"surface": "home", "user_id": user.user_id, "limit": count})
    answer = client.fetch(f"/v1/recommend?{asked}").json()
    if PERSONAL in answer.get("degraded", ()):
        raise DataError(
            f"{user.user_id!r} is answered from less, by a service that failed or was too slow.",
            "See its messages; beside other work a machine may be too slow for the deadline.",
        )
    return list(answer["items"])


def _rank_of(item_id: str, items: Sequence[Mapping[str, Any]]) -> float:
    """The rank of an item among the first ten, from 1; inf if it is not among them."""
    ids = [item["item_id"] for item in items[:K]]
    return 1.0 + ids.index(item_id) if item_id in ids else np.inf


def rank_alone(workspace: Path, users: Sequence[ServedUser], progress: Progress) -> dict[str, Any]:
    """Model of the generation -> ranks (U,) of the targets among its ten best items, in process.

    Args:
        workspace: after the service was asked, so that the posted events are in its log.
        users: who were asked.
        progress: of the models. Each ranks all items but those of the history.
    """
    ranks = {}
    with closing(Engine.open(workspace, clock=lambda: ASKED_AT)) as engine:
        state = engine.state
        targets = state.catalogue.vocabulary.numbers(user.target for user in users)
        queries = [
            replace(query, exclude=query.history.items)
            for query in engine.queries(Request("home", user.user_id) for user in users)
        ]
        for name, model in progress.track(state.models.items(), "models", len(state.models)):
            lists: list[ItemList] = []
            for begin in range(0, len(queries), BATCH):
                lists += model.recommend(queries[begin : begin + BATCH], K)
            ranks[name] = ranks_from_lists(first_items(lists), targets)
    return ranks
