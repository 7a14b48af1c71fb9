"""Query expansion equals its definition over all reference items."""

from __future__ import annotations

import numpy as np

from serendip.models.relevance.feedback import EXPANSIONS, QueryExpansion
from serendip.models.relevance.hubness import HubnessCorrection, ReferenceItems


def unit(random: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = random.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_columns_equal_an_expansion_by_hand() -> None:
    random = np.random.default_rng(0)
    items, queries, views = (unit(random, *shape) for shape in ((2, 50, 8), (4, 8), (2, 3, 8)))
    expansion = QueryExpansion.of(HubnessCorrection.of([queries] * 2, ReferenceItems.of(items)))
    query_rows, item_rows = np.array([0, 1, 3]), np.array([2, 0, 1])
    pairs = query_rows, item_rows
    expanded = expansion.expand(queries)  # (V, q, E, C)
    compare = expansion.reference.items.compare
    found = [compare(view, expanded[view], views[view], pairs) for view in range(2)]
    cosines = [queries @ view.T for view in items]
    scores = np.mean([(c - c.mean(1)[:, None]) / c.std(1)[:, None] for c in cosines], 0)
    scores -= expansion.hubness.mean(0)
    for place, count in enumerate(EXPANSIONS):
        for view in range(2):
            cosine, relative = (each[place] for each in found[view])
            for pair, (query, item) in enumerate(zip(query_rows, item_rows, strict=True)):
                best = np.argsort(-scores[query])[:count]
                weights = np.exp(2.0 * scores[query, best])
                expanded = weights / weights.sum() @ items[view, best]
                reference = items[view] @ expanded
                similarity = views[view, item] @ expanded
                assert abs(cosine[pair] - similarity) < 1e-5
                standardised = (similarity - reference.mean()) / reference.std()
                assert abs(relative[pair] - standardised) < 1e-3
