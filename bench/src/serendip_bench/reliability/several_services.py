"""Two services on one workspace, with writers, readers, an eraser and a publisher at once.

Neither service knows of the other. Who was told that a write is stored finds it in the next answer
of the same service, and within a second in those of the other one; nothing fails meanwhile.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from serendip.data.store.store import Store
from serendip.runtime.progress import Progress, SilentProgress
from serendip_bench.reliability.breakage import ignore_other_services
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.hot_swaps import publish_again
from serendip_bench.reliability.services import Breakage, beside, copy_workspace, run_forked
from serendip_bench.reliability.workload import DATABASE
from serendip_bench.service import HttpClient, Reply

_WITHIN_S, _GIVE_UP_S = 1.0, 3.0
_EVENTS_OF_ERASED = 5

_TRIES = 20
"""How often a client tries, also after the end, until it has done its work once."""


@dataclass(slots=True)
class _Seen:
    acknowledged: dict[str, list[str]] = field(default_factory=dict)
    """User -> ids of their events."""

    erased: list[str] = field(default_factory=list)
    answers: int = 0
    deletions: int = 0
    shown: int = 0
    """Answers that showed an item before it was deleted."""

    failures: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Own writes that the next answer did not have."""

    late_s: list[float] = field(default_factory=list)
    """Seconds until the other service obeyed, up to those after which it is waited for no more."""

    def count_disobedience(self) -> int:
        return sum(seconds >= _GIVE_UP_S for seconds in self.late_s)


class _AnswerFailed(Exception):
    """An answer that should have been another one; it says nothing about what is stored."""


@dataclass(frozen=True, slots=True)
class _Client:
    clients: Sequence[HttpClient]
    seen: _Seen

    def ask(self, service: int, method: str, path: str, body: bytes | None = None) -> Reply:
        reply = self.clients[service].ask(method, path, body)
        self.seen.answers += 1
        if reply.status != 200:
            raise _AnswerFailed(f"{method} {path}: {reply.status} {reply.body[:120]!r}")
        return reply

    def post(self, service: int, path: str, value: object) -> None:
        self.ask(service, "POST", path, json.dumps(value).encode())

    def status(self, service: int, path: str) -> int:
        return self.clients[service].ask("GET", path).status

    def count_shown(self, service: int, paths: Sequence[str], text: str) -> int:
        return sum(text.encode() in self.ask(service, "GET", path).body for path in paths)

    def history(self, service: int, user_id: str) -> list[dict[str, Any]]:
        found = self.ask(service, "GET", f"/v1/users/{user_id}/history?limit=10").json()
        return list(found.get("events", ()))

    def wait(self, service: int, path: str, status: int) -> bool:
        """Note how long it takes until an answer of the other service has a status; whether so."""
        begin, pause = time.perf_counter(), threading.Event()
        while not (is_so := self.status(service, path) == status):
            if time.perf_counter() > begin + _GIVE_UP_S:
                break
            pause.wait(0.01)
        self.seen.late_s.append(time.perf_counter() - begin)
        return is_so


def _post_and_read(client: _Client, name: str, number: int) -> None:
    """An event is in the history of its user in the next answer of either service."""
    item, event = f"sku-{number % 500:08d}", f"{name}-{number}"
    row = {"user_id": name, "item_id": item, "event_id": event}
    client.post(number % 2, "/v1/events", row)
    client.seen.acknowledged.setdefault(name, []).append(event)
    for service in (number % 2, 1 - number % 2):
        if [one["item_id"] for one in client.history(service, name)[:1]] != [item]:
            client.seen.missing.append(f"event {event}")


def _delete_and_look(client: _Client, name: str, number: int) -> None:
    """An item is shown once it is posted, and in no answer after it was deleted."""
    first, second = number % 2, 1 - number % 2
    item_id, twin_id = f"{name}-{number:06d}", f"twin-{number:06d}-of-{name}"
    path, word = f"/v1/items/{item_id}", f"zebra{number}"
    for one in (twin_id, item_id):
        client.post(first, "/v1/items", {"item_id": one, "title": f"{word} {one}"})
    client.wait(second, path, 200)
    paths = _list_answers(name, twin_id, word)
    client.seen.shown += client.count_shown(first, paths, item_id)
    client.ask(first, "DELETE", path)
    client.seen.deletions += 1
    if client.status(first, path) == 200 or client.count_shown(first, paths, item_id):
        client.seen.missing.append(f"deletion of {item_id}")
    if client.wait(second, path, 404) and client.count_shown(second, paths, item_id):
        client.seen.missing.append(f"deletion of {item_id} in an answer of the other service")
    client.ask(first, "DELETE", f"/v1/items/{twin_id}")


def _list_answers(user_id: str, item_id: str, text: str) -> tuple[str, ...]:
    """Paths of what shows items: feed, similar items, search, suggestions, and their pages."""
    return (
        f"/v1/recommend?surface=home&user_id={user_id}&limit=20",
        f"/v1/items/{item_id}/similar?limit=20",
        f"/v1/search?q={text}&limit=5",
        f"/v1/suggest?q={text}",
        f"/?user={user_id}",
        f"/items/{item_id}?user={user_id}",
        f"/search?q={text}&user={user_id}",
    )


def _erase_and_read(client: _Client, name: str, number: int) -> None:
    """An erased user has no history in the next answer of either service."""
    user_id = f"{name}-{number}"
    for place in range(_EVENTS_OF_ERASED):
        row = {"user_id": user_id, "item_id": f"sku-{place:08d}", "event_id": f"{user_id}:{place}"}
        client.post(number % 2, "/v1/events", row)
    client.ask(number % 2, "DELETE", f"/v1/users/{user_id}")
    client.seen.erased.append(user_id)
    for service in (0, 1):
        if client.history(service, user_id):
            client.seen.missing.append(f"erasure of {user_id}")


def _read(client: _Client, name: str, number: int) -> None:
    for path in (f"/v1/recommend?user_id=u{number % 50}", f"/v1/search?q=a{number % 7}"):
        client.ask(number % 2, "GET", path)


_Work = Callable[[_Client, str, int], None]
_WORK: tuple[tuple[str, _Work, int], ...] = (
    ("writer", _post_and_read, 4),
    ("seller", _delete_and_look, 1),
    ("eraser", _erase_and_read, 1),
    ("reader", _read, 2),
)


@dataclass(frozen=True, slots=True)
class SeveralServices:
    """Everything at once, on two services.

    Args:
        publish_s: seconds between two generations.
    """

    seconds: float = 90.0
    control_seconds: float = 8.0
    publish_s: float = 5.0
    workspace: Path | None = None

    def run(self, progress: Progress) -> Findings:
        """Ask, compare, and look what is stored in the end."""
        told, lost, back = self._try(self.seconds, nullcontext, progress)
        broken, _, _ = self._try(self.control_seconds, ignore_other_services, SilentProgress())
        late = sorted(told.late_s) or [0.0]
        return Findings(
            {
                "answers": told.answers,
                "acknowledged events": sum(map(len, told.acknowledged.values())),
                "deletions": told.deletions,
                "erasures": len(told.erased),
                "seconds until half of the items were known to the other service": round(
                    late[len(late) // 2], 3
                ),
            },
            (
                Bar("answers that failed", len(told.failures), 0),
                Bar("acknowledged writes that an answer did not have", len(told.missing), 0),
                Bar("seconds until the other service obeyed, at most", late[-1], _WITHIN_S),
                Bar("acknowledged events that are not stored once", lost, 0),
                Bar("erased users who are stored", back, 0),
                Bar("deletions and erasures", told.deletions + len(told.erased), 2, "at least"),
                Bar(
                    "answers with an item before its deletion",
                    told.shown,
                    told.deletions,
                    "at least",
                ),
            ),
            (Control("services that read nothing of each other", broken.count_disobedience()),),
            tuple((told.failures + told.missing)[:3]),
        )

    def _try(self, seconds: float, broken: Breakage, progress: Progress) -> tuple[_Seen, int, int]:
        seen = _Seen()
        with copy_workspace(self.workspace) as workspace:
            with ExitStack() as stack:
                services = [stack.enter_context(run_forked(workspace, broken)) for _ in range(2)]
                for service in services:
                    service.warm_up(["/v1/search?q=a", "/v1/recommend?user_id=u1"])
                self._work([one.netloc for one in services], workspace, seen, seconds, progress)
            with closing(Store.open(workspace / DATABASE)) as store:
                stored = {
                    name: Counter(event.event_id for event in store.log.history(name, 10**9))
                    for name in seen.acknowledged
                }
                back = sum(bool(store.log.history(name, 1)) for name in seen.erased)
        lost = sum(
            stored[name][event] != 1
            for name, events in seen.acknowledged.items()
            for event in events
        )
        return seen, lost, back

    def _work(
        self,
        netlocs: Sequence[str],
        workspace: Path,
        seen: _Seen,
        seconds: float,
        progress: Progress,
    ) -> None:
        def repeat(work: _Work, name: str, ended: threading.Event) -> None:
            with ExitStack() as stack:
                clients = [stack.enter_context(closing(HttpClient(one))) for one in netlocs]
                client, whole = _Client(clients, seen), 0
                for number in count():
                    if ended.is_set() and (whole or number >= _TRIES):
                        break
                    try:
                        work(client, name, number)
                        whole += 1
                    except (_AnswerFailed, ValueError, KeyError) as error:
                        seen.failures.append(f"{name}: {error}")

        calls = [
            partial(repeat, work, f"{name}{place}")
            for name, work, number in _WORK
            for place in range(number)
        ]
        ticks = max(1, round(seconds / self.publish_s))
        with beside(*calls) as ended:
            for _ in progress.track(range(ticks), "several services", ticks):
                ended.wait(min(self.publish_s, seconds))
                publish_again(workspace)
