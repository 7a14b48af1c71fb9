"""The strongest evidence is told first, and what nobody chose yet is proposed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.item import Item
from serendip.data.query import History, Query
from serendip.engine.engine import Engine
from serendip.engine.explain import Explainer
from serendip.engine.stages.pipeline import run
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.models import model_class
from serendip.models.base import ScoreKind, VoteEvidence


@dataclass(frozen=True)
class Voting:
    """A model whose context votes as it is told; one column per item."""

    context: IntArray
    given: FloatArray
    evidence: VoteEvidence | None
    score_kind: ScoreKind = "count"

    def compute_votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        return self.context, self.given[:, : len(item_nums)]


def test_the_strongest_votes_are_told_first(engine: Engine) -> None:
    context = np.array([1, 4, 7, 10], np.int32)
    given = np.array([[0.2, 0.0], [0.9, 0.3], [0.5, 0.1], [0.0, 0.8]], np.float32)
    models = {
        name: Voting(context, given, model_class(name).evidence)
        for name in ("item-knn", "transitions")
    }
    state = replace(engine.state, models=models)
    query, items = Query(history=History.of_items(context)), np.array([13, 16], np.int32)
    nothing = [np.nan, np.nan]
    explainer = Explainer(state, query, items)
    told = [
        [(one.kind, one.item_id, one.weight) for one in grounds if one.kind in
         ("transition", "neighbour")]
        for grounds in explainer.evidence(nothing, nothing)
    ]  # fmt: skip
    assert told == [
        [
            ("transition", "i4", 0.9),
            ("transition", "i7", 0.5),
            ("neighbour", "i4", 0.9),
            ("neighbour", "i7", 0.5),
        ],
        [
            ("transition", "i10", 0.8),
            ("transition", "i4", 0.3),
            ("neighbour", "i10", 0.8),
            ("neighbour", "i4", 0.3),
        ],
    ]
    assert explainer.reasons(nothing, nothing) == [
        "Often chosen next after The comedy tale number 4 or its like",
        "Often chosen next after The comedy tale number 10 or its like",
    ]


@pytest.mark.parametrize("quota", [1, 3, 10])
def test_new_items_are_proposed_nearest_first_and_others_are_not(
    engine: Engine, quota: int
) -> None:
    titles = ("The horror tale number 61", "A western tale", "The horror tale number 62")
    new = [Item(f"new-{n}", title) for n, title in enumerate(titles)]
    engine.add_items(new)
    state = engine.state
    assert (state.counts[:60] > 0).any()
    query = Query(history=History.of_items(np.array([0, 3], np.int32)))
    surface = SurfaceConfig(task="home", sources={"new-items": quota})
    (result,) = run([query], surface, state)
    scores = state.models["retriever"].score_all([query])[0]
    unchosen = np.flatnonzero(state.counts == 0)
    nearest = unchosen[np.argsort(-scores[unchosen], kind="stable")][:quota]
    assert result.trace["from new-items"] == len(nearest) == min(quota, 3)
    assert sorted(result.items.item_nums.tolist()) == sorted(nearest.tolist())
    if quota == 1:
        assert engine.item_ids(nearest) in (["new-0"], ["new-2"])
