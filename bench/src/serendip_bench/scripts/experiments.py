"""False positives of experiments that are looked at all the time, and sessions until a verdict.

Usage: python -m serendip_bench.scripts.experiments [--runs 2000] [--users 5000]
    [--verdicts 40] [--seed 0]

**A/A**: both arms get the same. Users come one after the other, and somebody looks after every 100
of them; a run is false if any look has a verdict. Users differ widely in how much they click
(gamma-distributed rates, mostly near 0). In the first world each has a value once and for all, in
the second they come back, so that their values grow; "CUPED" adjusts by clicks before the start,
which new users do not have. The same looks with an interval of one look are the negative control.

**Sessions until a verdict**, of an A/B test and of an interleaved list, where B has 5 % more clicks
per session. In the world "order" a session is for one item, and B moves it up one place more often
than not: people read down the list, and stop at some place. In the world "appeal" people read the
whole list, and click each item of B 5 % more often wherever it is, so that nothing is gained by
showing both.

Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from serendip.engine.experiments import draft
from serendip.evaluate.intervals import Z_95, Estimate
from serendip.evaluate.runs import Values
from serendip.evaluate.sequential import FEWEST_USERS, adjust, compare_arms, estimate_mean

LOOK = 100  # users, or sessions, between two looks
LIFT = 1.05
_LENGTH = 10  # of a list
_READS_ON = 0.85  # probability of reading the next place
_WANTED = 0.15  # that the wanted item is at a place, if it is not before it
_APPEAL = 0.04  # probability that an item is clicked
_GROWTH = 1.02  # of the sessions from one look to the next, where that is more
_MOST_SESSIONS = 200_000


def is_apart(found: Estimate) -> bool:
    """Whether an interval excludes that there is no difference."""
    return found.low is not None and found.high is not None and not found.low <= 0 <= found.high


def look_once(control: Values, treatment: Values) -> Estimate:
    """The interval of somebody who looks once, by the normal distribution."""
    users = len(control) + len(treatment)
    if min(len(control), len(treatment)) < FEWEST_USERS:
        return Estimate(None, None, None, users)
    value = float(treatment.mean() - control.mean())
    reach = Z_95 * math.sqrt(control.var() / len(control) + treatment.var() / len(treatment))
    return Estimate(value, value - reach, value + reach, users)


def draw_looks(
    users: int, returns: bool, random: np.random.Generator
) -> Iterator[tuple[Values, Values, NDArray[np.int32]]]:
    """Yield values, values before, and arms of the users who have come, after every hundred."""
    rates = random.gamma(0.3, 2.0, users)
    arms = random.integers(0, 2, users).astype(np.int32)
    known = random.random(users) < 0.6
    before = np.where(known, random.poisson(4 * rates), 0).astype(float)
    visits = 1 + (random.poisson(3.0, users) if returns else 0)
    who = np.repeat(np.arange(users), visits)
    # The first visit when the user comes, the others later, in units of users who come.
    first = np.r_[True, who[1:] != who[:-1]]
    times = who + np.where(first, 0.0, random.exponential(1_000.0, len(who)))
    clicks = random.poisson(rates[who])
    for end in range(2 * LOOK, users + 1, LOOK):
        seen = times < end
        values = np.bincount(who[seen], clicks[seen], end).astype(np.float64)
        yield values, before[:end], arms[:end]


def count_false(runs: int, users: int, seed: int) -> list[dict[str, object]]:
    """False positives of A/A runs, by how they are looked at."""
    looks: dict[str, Callable[[Values, Values], Estimate]] = {
        "confidence sequence": compare_arms,
        "interval of one look": look_once,
    }
    rows: list[dict[str, object]] = []
    for returns in (False, True):
        found = {(name, cuped): 0 for name in looks for cuped in (False, True)}
        for run in range(runs):
            open_ways = dict.fromkeys(found, True)
            for values, before, arms in draw_looks(
                users, returns, np.random.default_rng((seed, run))
            ):
                columns = values, adjust(values, before)
                for name, cuped in [way for way, is_open in open_ways.items() if is_open]:
                    column = columns[cuped]
                    if is_apart(looks[name](column[arms == 0], column[arms == 1])):
                        found[name, cuped] += 1
                        open_ways[name, cuped] = False
        for (name, cuped), count in found.items():
            share = count / runs
            error = math.sqrt(share * (1 - share) / runs)
            world = "users come back" if returns else "each user once"
            rows.append(
                {"world": world, "looks": name, "cuped": cuped, "false": share, "error": error}
            )
    return rows


# Share of the clicks of A that the first place has: nothing is above it.
_WANTED_FIRST = 1 - (1 - _WANTED) * _READS_ON


def _draw_order(random: np.random.Generator) -> tuple[list[str], list[str], int]:
    """Rankings of both, and the place of the wanted item in that of A."""
    place, names = int(random.geometric(_WANTED)) - 1, [f"i{n}" for n in range(3 * _LENGTH)]
    better = names.copy()
    place = min(place, len(names) - 1)
    # Read with a probability of r^place: one place up is 1/r times as often.
    if place and random.random() < (LIFT - 1) / (1 / _READS_ON - 1) / (1 - _WANTED_FIRST):
        better[place - 1], better[place] = better[place], better[place - 1]
    return names, better, place


def choose_by_order(random: np.random.Generator) -> tuple[int, int, int]:
    """One session of A, of B, and interleaved: clicks, clicks, and 1 or -1 for B or A."""
    ranking, better, place = _draw_order(random)
    wanted, reads = ranking[place], int(random.geometric(1 - _READS_ON))  # places that are read
    picks = list(draft((ranking, better), _LENGTH, int(random.integers(2**32))))
    shown = [(ranking, better)[team][row] for team, row, _ in picks]
    sign = 0
    if wanted in shown[:reads]:
        sign = 2 * picks[shown.index(wanted)][0] - 1
    limit = min(reads, _LENGTH)
    return int(wanted in ranking[:limit]), int(wanted in better[:limit]), sign


def choose_by_appeal(random: np.random.Generator) -> tuple[int, int, int]:
    """As ``choose_by_order``, where every item of B is clicked more often."""
    draws = random.random(_LENGTH)
    chances = np.array([_APPEAL, _APPEAL * LIFT])
    teams = random.permuted(np.tile([0, 1], (_LENGTH // 2, 1)), axis=1).ravel()
    credit = int(((2 * teams - 1) * (draws < chances[teams])).sum())
    return int((draws < chances[0]).sum()), int((draws < chances[1]).sum()), int(np.sign(credit))


def count_sessions(
    choose: Callable[[np.random.Generator], tuple[int, int, int]], seed: int
) -> tuple[int, int]:
    """Sessions until a verdict: of an A/B test, and of an interleaved list; one user each."""
    random = np.random.default_rng(seed)
    sessions = np.empty((0, 3))  # clicks of A, clicks of B, sign
    tested = interleaved = 0
    while not (tested and interleaved) and len(sessions) < _MOST_SESSIONS:
        more = max(LOOK, int(len(sessions) * _GROWTH) - len(sessions))
        sessions = np.concatenate([sessions, [choose(random) for _ in range(more)]])
        clicks, signs = (sessions[::2, 0], sessions[1::2, 1]), sessions[:, 2]
        if not tested and is_apart(compare_arms(*clicks)):
            tested = len(sessions)
        if not interleaved and is_apart(estimate_mean(signs[signs != 0])):
            interleaved = len(sessions)
    return tested or _MOST_SESSIONS, interleaved or _MOST_SESSIONS


def compare_sessions(verdicts: int, seed: int) -> list[dict[str, object]]:
    """Median sessions until a verdict in each world."""
    rows: list[dict[str, object]] = []
    for world, choose in (("order", choose_by_order), ("appeal", choose_by_appeal)):
        random = np.random.default_rng(seed)
        sample = np.array([choose(random) for _ in range(100_000)], float)
        found = np.array([count_sessions(choose, seed + run) for run in range(verdicts)])
        tested, interleaved = np.median(found, axis=0).tolist()
        rows.append(
            {
                "world": world,
                "clicks of A": float(sample[:, 0].mean()),
                "lift": float(sample[:, 1].mean() / sample[:, 0].mean() - 1),
                "A/B": tested,
                "interleaved": interleaved,
                "times": tested / interleaved,
                "not found": (found >= _MOST_SESSIONS).mean(0).tolist(),
            }
        )
    return rows


def main() -> None:
    """Run both simulations and print them."""
    parser = argparse.ArgumentParser(description="False positives and sessions of experiments")
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--verdicts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    false = count_false(options.runs, options.users, options.seed)
    sessions = compare_sessions(options.verdicts, options.seed)
    print(json.dumps({"false positives": false, "sessions": sessions}, indent=1))


if __name__ == "__main__":
    main()
