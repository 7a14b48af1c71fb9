"""The models of the served generation, each alone, for the users who were asked.

Shapes: U users.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from serendip.data.item_list import ItemList
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.evaluate.runs import Values
from serendip.evaluate.surface_quality import K
from serendip.jobs.surface_quality.answers import BATCH, first_items
from serendip.runtime.progress import Progress
from serendip_bench.served.client import ASKED_AT
from serendip_bench.served.data import ServedUsers


def rank_baselines(workspace: Path, users: ServedUsers, progress: Progress) -> dict[str, Values]:
    """Model -> ranks (U,) of the targets among its ten best items; inf where they are not.

    Args:
        workspace: after the service was asked, so that the posted events are in its log.
        users: who were asked.
        progress: of the models. Each ranks all items but those of the history.
    """
    ranks: dict[str, Values] = {}
    with closing(Engine.open(workspace, clock=lambda: ASKED_AT)) as engine:
        state = engine.state
        targets = state.catalogue.vocabulary.numbers(users.targets)  # (U,)
        queries = [
            replace(query, exclude=query.history.items)
            for query in engine.queries(Request("home", user_id) for user_id in users.ids)
        ]
        names = list(state.models)
        for name in progress.track(names, "models alone", len(names)):
            model, lists = state.models[name], list[ItemList]()
            for begin in range(0, len(queries), BATCH):
                lists += model.recommend(queries[begin : begin + BATCH], K)
            hits = first_items(lists) == targets[:, None]  # (U, 10)
            ranks[name] = np.where(hits.any(1), hits.argmax(1) + 1.0, np.inf)
    return ranks
