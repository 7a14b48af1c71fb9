"""Agreement of served answers with exact scores: recall of the candidates, and nDCG@10.

Usage: python -m serendip_bench.scripts.request_agreement WORKSPACE [--users 1000]

For users of a workspace the last event is the target, and the events before it are the history:
home and similar by the history, search by words of the target's title. Each request is answered
twice, by the served path and by models that score every item. Prints one JSON line per surface.
Models were trained on the targets, too: the figures compare two paths, they measure no quality.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.data import AllowedItems, ItemList, Query
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.pipeline import gather, run
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.models.base import Recommender

_K = 100


def score_every_item(model: Recommender) -> Recommender:
    """A copy of a model that proposes by the scores of all items."""
    exact = copy.copy(model)
    exact._query_scores = lambda queries: None  # type: ignore[method-assign]
    return exact


def build_requests(engine: Engine, count: int) -> dict[str, tuple[list[Query], list[int]]]:
    """Surface -> queries of users without their last event, and its item."""
    state, users = engine.state, [user for user, _ in engine.users(count)]
    requests: dict[str, tuple[list[Query], list[int]]] = {
        name: ([], []) for name in ("home", "similar", "search")
    }
    for query in engine.queries(Request("home", user) for user in users):
        if len(query.history) < 3:
            continue
        past, target = query.history.first(len(query.history) - 1), int(query.history.item_nums[-1])
        words = state.catalogue[target].title.split()[-2:]
        (search,) = engine.queries([Request("search", text=" ".join(words))])
        queries = {
            "home": replace(query, history=past),
            "similar": replace(
                query, surface="similar", history=past, source_items=past.item_nums[-1:]
            ),
            "search": replace(search, user_id=query.user_id, history=past),
        }
        for name, asked in queries.items():
            requests[name][0].append(asked)
            requests[name][1].append(target)
    return requests


def compare_models(state: EngineState, queries: Sequence[Query]) -> dict[str, float]:
    """Model -> mean share of its 100 best items that it proposes."""
    allowed = [AllowedItems.all(state.num_items)] * len(queries)
    recalls = {}
    for name, model in state.models.items():
        exact = score_every_item(model)
        hits, wanted = 0, 0
        for begin in range(0, len(queries), 50):
            part, may = queries[begin : begin + 50], allowed[begin : begin + 50]
            lists = (one.query_scores(part).top(_K, may) for one in (model, exact))
            for served, best in zip(*lists, strict=True):
                hits += len(set(served.item_nums.tolist()) & set(best.item_nums.tolist()))
                wanted += len(best)
        recalls[name] = round(hits / max(wanted, 1), 5)
    return recalls


def compare_answers(
    surface: SurfaceConfig, queries: Sequence[Query], targets: Sequence[int], state: EngineState
) -> dict[str, Any]:
    """Recall of the candidates, overlap of the first ten, and nDCG@10 of both paths."""
    models = {name: score_every_item(model) for name, model in state.models.items()}
    exact_state = replace(state, models=models)
    recalls, overlaps, gains = [], [], []
    for query, target in zip(queries, targets, strict=True):
        served = gather([query], surface, state)[1].items
        exact = gather([query], surface, exact_state)[1].items
        recalls.append(len(np.intersect1d(served, exact)) / max(len(exact), 1))
        lists = [run([query], surface, one)[0].items for one in (state, exact_state)]
        first, second = (set(items.item_nums[:10].tolist()) for items in lists)
        overlaps.append(len(first & second) / max(len(second), 1))
        gains.append([_ndcg(items, target) for items in lists])
    served_gain, exact_gain = np.mean(gains, axis=0).tolist()
    return {
        "requests": len(queries),
        "recall of candidates": round(float(np.mean(recalls)), 5),
        "overlap of the first 10": round(float(np.mean(overlaps)), 5),
        "nDCG@10 served": round(served_gain, 6),
        "nDCG@10 exact": round(exact_gain, 6),
        "nDCG@10 ratio": round(served_gain / max(exact_gain, 1e-12), 5),
    }


def _ndcg(items: ItemList, target: int) -> float:
    places = np.flatnonzero(items.item_nums[:10] == target)
    return float(1 / np.log2(places[0] + 2)) if len(places) else 0.0


def compare(engine: Engine, count: int) -> Mapping[str, Any]:
    """All comparisons, by surface."""
    state, surfaces = engine.state, engine.settings.all_surfaces()
    return {
        name: {
            **compare_answers(surfaces[name], queries, targets, state),
            "recall@100 of models": compare_models(state, queries[:200]),
        }
        for name, (queries, targets) in build_requests(engine, count).items()
    }


def main() -> None:
    """Parse, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--users", type=int, default=1000)
    options = parser.parse_args()
    engine = Engine.open(options.workspace)
    for surface, values in compare(engine, options.users).items():
        print(json.dumps({"benchmark": "request agreement", "surface": surface, **values}))
    engine.close()


if __name__ == "__main__":
    main()
