"""A small world of runs that the report tests share."""

import numpy as np

from serendip.evaluate.protocol import ProtocolRuns
from serendip.evaluate.report.document import build_report
from serendip.evaluate.runs import Judged, Run

ITEMS = 300
NAMES = ("engine", "item-kNN", "popularity")


def judged_world(requests=400, users=90, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, ITEMS, requests).astype(np.int32)
    flags = {
        "cold_item": targets >= 280,
        "tail_item": targets >= 60,
        "cold_user": np.zeros(requests, dtype=bool),
    }
    people = np.array([f"u{number}" for number in rng.integers(0, users, requests)])
    return Judged(targets, people, rng.integers(0, 3, requests), flags)


def run_world(name, judged, spread, worse, seed):
    """Lists out of the first ``spread`` items; ranks that grow with ``worse``."""
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(spread)[:10] for _ in range(len(judged))]).astype(np.int32)
    ranks = np.floor(rng.exponential(20 * worse, len(judged))) + 1
    return Run(name, lists, ranks)


def protocol_world(key="temporal", label="Temporal split", names=NAMES, **changes):
    judged = judged_world()
    runs = [
        run_world(name, judged, spread, worse, seed)
        for seed, (name, spread, worse) in enumerate(
            zip(names, (300, 100, 12), (1, 2, 6), strict=True)
        )
    ]
    values = {
        "key": key,
        "label": label,
        "description": "Fitted on the past, asked about the future.",
        "judged": judged,
        "runs": runs,
        "popularity": np.arange(ITEMS, 0, -1, dtype=np.int32),
        "catalogue_size": ITEMS,
        "subject": names[0],
        "baselines": names[1:],
        "cuts": [{"fraction": 0.7, "cut": 1.0e9, "train_events": 700, "targets": 400, "users": 90}],
        "seconds": {names[0]: 12.5, names[1]: 0.4, names[2]: 0.0},
    }
    return ProtocolRuns(**{**values, **changes})


def report_world(protocols=None, **changes):
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
        "splits": {"made": ["temporal@0.7"], "left_out": ["leave_last_out"], "sampled": {}},
        "semantic_ids": {
            "num_items": 300,
            "collision_rate": 0.034,
            "used": (63, 60),
            "dead": (1, 4),
            "perplexity": (51.25, 40.0),
        },
        "stages": [{"name": "train", "wall_s": 64.0, "cpu_s": 120.25, "peak_mb": 1480.4}],
        "noun": "film",
        "resamples": 200,
    }
    return build_report(
        protocols if protocols is not None else [protocol_world()], **{**values, **changes}
    )
