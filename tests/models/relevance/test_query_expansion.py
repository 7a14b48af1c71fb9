"""How near an item is to an expanded query, relative to the crowd, without asking all of it."""

from __future__ import annotations

import numpy as np

from serendip.models.relevance.feedback import EXPANSIONS, QueryExpansion
from serendip.models.relevance.hubness import HubnessCorrection, ReferenceItems


def unit(random: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = random.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_expanded_by_hand_relative_to_the_whole_crowd() -> None:
    random = np.random.default_rng(0)
    items, asked, views = (unit(random, *shape) for shape in ((2, 50, 8), (4, 8), (2, 3, 8)))
    expansion = QueryExpansion.of(HubnessCorrection.of([asked] * 2, ReferenceItems.of(items)))
    row, which = np.array([0, 1, 3]), np.array([2, 0, 1])
    columns = expansion.columns(asked, views, (row, which))
    assert len(columns) == 2 * len(EXPANSIONS) * 2
    seen = [asked @ view.T for view in items]
    near = np.mean([(one - one.mean(1)[:, None]) / one.std(1)[:, None] for one in seen], 0)
    near -= expansion.known.mean(0)
    for place, count in enumerate(EXPANSIONS):
        for view in range(2):
            cosine, relative = columns[place * 4 + view * 2 : place * 4 + view * 2 + 2]
            for pair, (query, item) in enumerate(zip(row, which, strict=True)):
                best = np.argsort(-near[query])[:count]
                weights = np.exp(2.0 * near[query, best])
                expanded = weights / weights.sum() @ items[view, best]
                all_seen = items[view] @ expanded
                likeness = views[view, item] @ expanded
                assert abs(cosine[pair] - likeness) < 1e-5
                wanted = (likeness - all_seen.mean()) / all_seen.std()
                assert abs(relative[pair] - wanted) < 1e-3
