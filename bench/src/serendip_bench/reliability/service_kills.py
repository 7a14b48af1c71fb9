"""Kills the whole service with SIGKILL while clients post: what is acknowledged is stored.

Each client keeps the ids of the events that were acknowledged. After each kill the store must have
every one of them, once, and the next service must start and answer.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from serendip.data.store.store import Store
from serendip.errors import StorageError
from serendip.runtime.progress import Progress, SilentProgress
from serendip_bench.reliability.breakage import acknowledge_before_commit
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.services import (
    Breakage,
    RunningService,
    beside,
    copy_workspace,
    run_forked,
)
from serendip_bench.reliability.workload import DATABASE
from serendip_bench.service import HttpClient

_LONGEST_S = 0.3
_MOST_EVENTS = 5


@dataclass(slots=True)
class _Ledger:
    name: str
    ids: list[str] = field(default_factory=list)
    is_over: bool = False

    def post(self, netloc: str, ended: threading.Event) -> None:
        number = 0
        with closing(HttpClient(netloc)) as client:
            while not ended.is_set():
                count = 1 + number % _MOST_EVENTS
                ids = [f"{self.name}-{number}-{place}" for place in range(count)]
                rows = [{"user_id": "killed", "item_id": "any", "event_id": name} for name in ids]
                status = client.post("/v1/events", rows).status
                if status == 0:
                    break
                if status == 200:
                    self.ids += ids
                number += 1
        self.is_over = True


@dataclass(frozen=True, slots=True)
class ServiceKills:
    """SIGKILL of ``serendip serve`` under posting clients."""

    kills: int = 200
    clients: int = 4
    control_kills: int = 5
    seed: int = 0
    workspace: Path | None = None

    def run(self, progress: Progress) -> Findings:
        """Post, kill, count."""
        told = self._kill(self.kills, nullcontext, progress)
        broken = self._kill(self.control_kills, acknowledge_before_commit, SilentProgress())
        return Findings(
            {"kills": told.kills, "acknowledged events": told.acknowledged},
            (
                Bar("acknowledged events that are lost", told.lost, 0),
                Bar("events that are stored twice", told.doubled, 0),
                Bar("starts that failed", told.failed_starts, 0),
                Bar("acknowledged events per kill", told.acknowledged / self.kills, 1, "at least"),
            ),
            (Control("a service that acknowledges before it commits", broken.lost),),
        )

    def _kill(self, kills: int, broken: Breakage, progress: Progress) -> _Outcome:
        outcome, rng = _Outcome(), random.Random(self.seed)
        with copy_workspace(self.workspace) as workspace:
            for number in progress.track(range(kills), "service kills", kills):
                ledgers = [_Ledger(f"{number}-{client}") for client in range(self.clients)]
                try:
                    with run_forked(workspace, broken) as service:
                        _post_until(service, ledgers, rng.uniform(0, _LONGEST_S))
                except StorageError:
                    outcome.failed_starts += 1
                outcome.kills += 1
                outcome.add(workspace, [name for ledger in ledgers for name in ledger.ids])
        return outcome


@dataclass(slots=True)
class _Outcome:
    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    failed_starts: int = 0

    def add(self, workspace: Path, acknowledged: list[str]) -> None:
        stored = list(_stored_ids(workspace))
        self.acknowledged += len(acknowledged)
        self.lost += len(set(acknowledged) - set(stored))
        self.doubled += len(stored) - len(set(stored))


def _post_until(service: RunningService, ledgers: list[_Ledger], seconds: float) -> None:
    """Let clients post, and kill the service some time after the first was answered."""
    with beside(*(partial(ledger.post, service.netloc) for ledger in ledgers)) as ended:
        while not any(ledger.ids or ledger.is_over for ledger in ledgers):
            ended.wait(0.001)
        ended.wait(seconds)
        service.kill()


def _stored_ids(workspace: Path) -> Iterator[str]:
    with closing(Store.open(workspace / DATABASE)) as store:
        for event in store.log.history("killed", 10**9):
            yield event.event_id
