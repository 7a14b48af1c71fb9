"""A small world of runs that the report tests share."""

from dataclasses import replace

import numpy as np
from surface_world import part_of, surface

from serendip.evaluate.decision import Decision
from serendip.evaluate.intervals import Estimate
from serendip.evaluate.lists import (
    Deletion,
    ListFigure,
    ListFigures,
    ShownList,
    summarise_deletions,
)
from serendip.evaluate.new_items import ExplorationFigures, NewItemFigures, Start
from serendip.evaluate.report.document import build_report
from serendip.evaluate.special_surfaces import Sale
from serendip.evaluate.surface_quality import ALL, Run, SurfaceFigures, measure_surface

ITEMS = 300
NAMES = ("engine", "item-kNN", "popularity")


def list_world(targets, spread, hits, seed):
    """Lists of the first ``spread`` items, some of them with the target at a random place."""
    rng = np.random.default_rng(seed)
    lists = np.full((len(targets), 10), -1, np.int32)
    for row, target in enumerate(targets.tolist()):
        shown = rng.permutation(spread)[:10]
        if rng.random() < hits and target not in shown:
            shown[rng.integers(10)] = target
        lists[row] = shown
    return lists


def home_runs(names=NAMES, **changes):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, ITEMS, 400).astype(np.int32)
    lists = {
        name: list_world(targets, spread, hits, seed)
        for seed, (name, spread, hits) in enumerate(
            zip(names, (300, 100, 12), (0.7, 0.3, 0.05), strict=False)
        )
    }
    relevant = [target.reshape(1) for target in targets]
    values = {
        "surface": "home",
        "question": "Fitted on the past, asked about the future.",
        "keys": np.arange(400, dtype=np.uint64),
        "users": np.array([f"u{number}" for number in rng.integers(0, 90, 400)]),
        "parts": {
            name: part_of(mask, relevant)
            for name, mask in (
                (ALL, targets >= 0),
                ("warm items", targets < 280),
                ("cold items", targets >= 280),
                ("tail items", targets >= 60),
                ("cold users", np.zeros(400, np.bool_)),
            )
        },
        "lists": lists,
        "counts": np.arange(ITEMS, 0, -1, dtype=np.int32),
        "is_new": np.zeros(ITEMS, np.bool_),
        "histories": (),
        "baselines": names[1:],
        "possible": 400,
    }
    return Run(**{**values, **changes})


def surfaces_world(home=None):
    """Home, a surface, one that sends messages and sells places, and one without figures."""
    sent, chosen = surface().lists, surface().parts[ALL]
    sold = np.zeros((3, 10), np.bool_)
    sold[0, 1] = True
    bids = np.where(sold, np.float32(2.5), np.float32(0))
    sale = Sale(sent["engine"], sold, bids, bids / 5, sent["popularity"], 2, chosen)
    whole = surface(
        surface="search",
        afterwards=chosen,
        sale=sale,
        note="Written queries.",
    )
    return [
        measure_surface(home_runs() if home is None else home),
        measure_surface(surface()),
        measure_surface(whole),
        SurfaceFigures("ads", "The feed with places for sale.", note="No item has a bid."),
    ]


def new_items_world(**changes):
    """Four new items, of which two were shown."""
    half, some = Estimate(0.5, 0.25, 0.75, 4), Estimate(0.7, 0.2, 1.1, 4)
    logged, replayed = Start(half, some, some), Start(half, some, some, half, half)
    found = NewItemFigures(5.0, 4, 3, 2, some, half, logged, {"engine": replayed})
    return replace(found, **changes)


def report_world(home=None, **changes):
    values = {
        "created": "2026-01-02T03:04:05+00:00",
        "code_version": "0.1.0",
        "data": {
            "counts": {"events": 1_000},
            "checks": [
                {"name": "duplicates", "status": "PASS", "count": 0, "message": "none"},
                {"name": "bursts", "status": "WARN", "count": 61, "message": "61 events"},
            ],
        },
        "split": {"cut": 1.0e9, "train_events": 712, "users": 2_000, "all_users": 50_000},
        "semantic_ids": {
            "num_items": 300,
            "collision_rate": 0.034,
            "used": (63, 60),
            "dead": (1, 4),
            "perplexity": (51.25, 40.0),
        },
        "stages": [{"name": "train", "wall_s": 64.0, "cpu_s": 120.25, "peak_mb": 1480.4}],
        "surfaces": surfaces_world(home),
        "seconds": {NAMES[0]: 12.5, NAMES[1]: 0.4, NAMES[2]: 0.0},
        "new_items": new_items_world(),
        "lists": ListFigures(
            "gen-3",
            [
                ListFigure(
                    "new items",
                    "rejected items shown as new",
                    Estimate(0.02, 0.01, 0.04, 60),
                    "none",
                )
            ],
            {"search": [ShownList("horror 1990s", ["The Tale <1>", "The Tale 2"])]},
            {"attribute": 24, "rule": 7},
            ["What known users see: there are no events of users."],
        ),
        "exploration": ExplorationFigures(400, 36, 7, 100.0, Estimate(0.081, 0.06, 0.11, 120)),
        "reasons": {
            "home": summarise_deletions(
                [Deletion("transition", 23, 0), Deletion("attribute", 8, 9)],
                [["transition", "popular", "attribute"], ["transition"]],
            ),
            "search": summarise_deletions([Deletion("word", 7, 1)], [["word"]]),
        },
        "decisions": [
            Decision(
                *("context: country", True, 0.0235, 0.001, 0.0479),
                *(80, "the interval is above 0", 0.2),
            ),
            Decision("baskets: cart", False, n=41, reason="41 users are too few"),
        ],
    }
    values |= changes
    about = {name: values.pop(name) for name in ("created", "code_version")}
    seed = values.pop("seed", 0)
    return build_report(values, seed=seed, **about)
