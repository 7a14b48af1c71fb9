"""How near an item is to an expanded query, relative to the crowd, without asking all of it."""

from __future__ import annotations

import numpy as np

from serendip.models.crowd import Crowd
from serendip.models.expanded_query import EXPANSIONS, Expansion, _expanded


def unit(random: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = random.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_spreads_are_those_of_the_whole_crowd() -> None:
    random = np.random.default_rng(0)
    items, asked, views = (unit(random, *shape) for shape in ((2, 50, 8), (4, 8), (2, 3, 8)))
    crowd = Crowd.of([asked] * 2, items)
    seen = crowd.seen([asked] * 2)
    row, which = np.array([0, 1, 3]), np.array([2, 0, 1])
    expansion = Expansion.of(crowd)
    columns = expansion.columns(crowd, seen, views, (row, which))
    assert len(columns) == 2 * len(EXPANSIONS) * 2
    near = np.mean([(one - m[:, None]) / s[:, None] for one, m, s in seen], 0)
    near = near - expansion.known.mean(0)
    expanded = _expanded(near, items[1], EXPANSIONS[1])
    likeness, all_seen = expanded @ views[1].T, expanded @ items[1].T
    place = EXPANSIONS.index(EXPANSIONS[1]) * 4 + 2
    np.testing.assert_allclose(columns[place], likeness[row, which], atol=1e-5)
    relative = (likeness[row, which] - all_seen.mean(1)[row]) / all_seen.std(1)[row]
    np.testing.assert_allclose(columns[place + 1], relative, atol=1e-3)
