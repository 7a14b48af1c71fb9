"""What candidates are worth where no ranker may order them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serendip.engine.engine import Engine
from serendip.engine.pipeline import run
from serendip.engine.surfaces import TASKS
from serendip.engine.values import ranks


def test_scores_that_differ_by_rounding_share_a_rank() -> None:
    scores = np.array([50.0, 49.0, 48.9999, 48.0, 48.0, 1e-3, 1e-3 - 1e-9, -3.0], np.float32)
    assert ranks(scores).tolist() == [1, 2, 2, 4, 4, 6, 6, 8]
    assert ranks(scores[:0]).tolist() == []


def test_a_task_that_the_ranker_may_not_order_is_fused_by_rank(engine: Engine) -> None:
    state = engine._state
    assert state.ranker is not None
    # The shop has no logged searches.
    assert state.ranker.ordered_tasks == (TASKS.index("home"), TASKS.index("similar"))
    config = engine.settings.all_surfaces()["search"]
    queries = [engine._query(state, config, "u0", text="horror tale")]
    (served,) = run(queries, config, state)
    (fused,) = run(queries, config, replace(state, ranker=None))
    assert served.items.item_nums.tolist() == fused.items.item_nums.tolist()
    np.testing.assert_array_equal(served.items.scores, fused.items.scores)
    home = engine.settings.all_surfaces()["home"]
    asked = engine.queries("home", ["u0"])
    (ranked,), (summed,) = run(asked, home, state), run(asked, home, replace(state, ranker=None))
    assert ranked.items.scores.tolist() != summed.items.scores.tolist()
