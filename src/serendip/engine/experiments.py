"""Experiments that run: which arm a request is in, and the interleaved list.

The arm is a function of the names of the experiment and of its user, so that nothing is stored for
users: ``serendip.jobs.experiments`` computes the arms of the users in the log again. What was
started, and when, is one value in the database, which the engines of services read twice a second.

Two lists are interleaved by team draft (Radlinski, Kurup and Joachims 2008, "How does clickthrough
data reflect retrieval quality?"): in each round a coin says which list puts its best item that is
not there yet first; then the other one does. A page is a draft of its own from what was not shown
before it. What was drawn follows from the request and the hour.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Self

from pydantic import TypeAdapter

from serendip.config import Config
from serendip.data.events.interleaving import mark_teams
from serendip.engine.config.experiments import HOLDOUT, ExperimentConfig
from serendip.engine.request import Answer, Place, Request
from serendip.engine.stages.list_rules import PROPENSITY
from serendip.engine.stages.surfaces import SurfaceConfig

EXPERIMENTS_KEY = "experiments"  # of the meta table: ``ExperimentRun`` of all that were started
_HOUR_S = 3_600


class ExperimentRun(Config):
    """An experiment that was started.

    Args:
        digest: of its settings, but for the ramp, and those of its surfaces when it was started.
        ramps: (Unix seconds, share of the users), ascending; the first one is the start.
        stopped: Unix seconds.
    """

    name: str
    config: ExperimentConfig
    digest: str
    ramps: tuple[tuple[float, float], ...]
    stopped: float | None = None

    @property
    def started(self) -> float:
        """Unix seconds."""
        return self.ramps[0][0]

    def place(self, user: str) -> tuple[str, float]:
        """The arm of a user or a session, and the time from which they are in it; "" = in none."""
        digest = hashlib.sha256(f"{self.name}\0{user}".encode()).digest()
        entry, drawn = (int.from_bytes(part) / 2**64 for part in (digest[:8], digest[8:16]))
        since = next((time for time, share in self.ramps if entry < share), math.inf)
        for name, arm in self.config.arms.items() if since < math.inf else ():
            drawn -= arm.share
            if drawn < 0:
                return name, since
        return "", math.inf


RUNS = TypeAdapter(tuple[ExperimentRun, ...])


@dataclass(frozen=True, slots=True)
class Assignment:
    """How a request is answered.

    Args:
        surfaces: that answer it; the lists of two are interleaved.
        experiment: name; empty = it is in none.
        arm: name; empty with two surfaces.
    """

    surfaces: tuple[str, ...]
    experiment: str = ""
    arm: str = ""

    def mark(self, answer: Answer, request: Request) -> Answer:
        """The answer with the requested surface, and the experiment."""
        surface, experiment, arm = request.surface, self.experiment, self.arm
        return replace(answer, surface=surface, experiment=experiment, arm=arm)


@dataclass(frozen=True, slots=True)
class Experiments:
    """The experiments that run."""

    runs: tuple[ExperimentRun, ...] = ()

    @classmethod
    def read(cls, text: str, surfaces: Mapping[str, SurfaceConfig]) -> Self:
        """Read the value in the database; those of surfaces that are no longer there do not run."""
        running = (run for run in RUNS.validate_json(text or "[]") if not run.stopped)
        return cls(tuple(run for run in running if {*run.config.all_surfaces} <= surfaces.keys()))

    def assign(self, request: Request) -> Assignment:
        """The arm of a request; it is in none without a user and a session, nor is an order of its
        own interleaved.
        """
        asked, user = Assignment((request.surface,)), request.user_id or request.session_id
        if not user or not self.runs:
            return asked
        arms = {run.name: run.place(user)[0] for run in self.runs}
        held = next((name for name, arm in arms.items() if arm == HOLDOUT), "")
        for run in self.runs:
            arm = arms[run.name]
            if arm and request.surface in run.config.surfaces and held in ("", run.name):
                own = {k: one.surface or request.surface for k, one in run.config.arms.items()}
                if run.config.interleave:
                    return asked if request.sort else Assignment((*own.values(),), run.name)
                return Assignment((own[arm],), run.name, arm)
        return asked


def draft(
    rankings: Sequence[Sequence[str]], length: int, seed: int
) -> Iterator[tuple[int, int, float]]:
    """Team, place in its ranking, and propensity of each item of an interleaved list.

    It ends early where a ranking does: items that only one of them has left say nothing. The
    propensity is that of the item after those before it.
    """
    coins, taken, first, places = Random(seed), set[str](), 0, [0, 0]
    for position in range(length):
        for team, ranking in enumerate(rankings):
            while places[team] < len(ranking) and ranking[places[team]] in taken:
                places[team] += 1
            if places[team] == len(ranking):
                return
        heads = [ranking[place] for ranking, place in zip(rankings, places, strict=True)]
        if opens := position % 2 == 0:
            first = coins.getrandbits(1)
        team = first if opens else 1 - first
        taken.add(heads[team])
        yield team, places[team], 0.5 if opens and heads[0] != heads[1] else 1.0


def interleave(name: str, answers: Sequence[Answer], request: Request, now: float) -> Answer:
    """One page from the pages of two lists.

    Args:
        name: of the experiment.
        answers: of its two arms, to the same request.
        request: as it was asked.
        now: Unix seconds.
    """
    first, second = answers
    told = f"{name} {now // _HOUR_S} {request!r}"
    seed = int.from_bytes(hashlib.sha256(told.encode()).digest()[:8])
    rankings = [[item.item_id for item in answer.items] for answer in answers]
    picks = list(draft(rankings, request.k, seed))
    items = {}
    for team, row, chance in picks:
        item = answers[team].items[row]
        chance *= item.parts.get(PROPENSITY, 1.0)
        parts = {**item.parts, PROPENSITY: chance} if chance < 1 else item.parts
        items[item.item_id] = replace(item, parts=parts)
    for item in (*first.items, *second.items):
        items.setdefault(item.item_id, item)
    shown, cursor = [*items.values()][: request.k], ""
    if len(items) > len(shown) or first.next or second.next:
        cursor = Place.read(request.cursor).write([item.item_id for item in shown])
    return replace(
        first,
        request_id=mark_teams(first.request_id, [team for team, *_ in picks]),
        items=tuple(shown),
        next=cursor,
        total=max(first.total, second.total),
        is_exact=first.is_exact and second.is_exact and first.total == second.total,
        degraded=tuple(dict.fromkeys((*first.degraded, *second.degraded))),
    )
