"""Do codes say what content and behaviour say? Shares of neighbours that share their first code."""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.runtime.threads import num_threads

_MOST_ASKED = 5_000
"""Items whose nearest neighbour is looked up; more do not change the share."""


def neighbour_agreement(content: FloatArray, codes: IntArray, seed: int = 0) -> float | None:
    """Share of items, of up to 5,000, whose nearest item by content has the same level-0 code.

    Args:
        content: (N, D) float32 vectors; items without content (zeros) are not asked about.
        codes: (N, L) codes of any vectors.
        seed: which items are asked about where there are more.

    Returns:
        in [0, 1]; None with fewer than two items.
    """
    import faiss

    rows = np.flatnonzero(content.any(1))
    if len(rows) < 2:
        return None
    faiss.omp_set_num_threads(num_threads())
    index = faiss.IndexFlatIP(content.shape[1])
    vectors = np.ascontiguousarray(content[rows], dtype=np.float32)
    index.add(vectors)
    asked = np.arange(len(rows))
    if len(asked) > _MOST_ASKED:
        asked = np.random.default_rng(seed).choice(asked, _MOST_ASKED, replace=False)
    _, found = index.search(vectors[asked], 2)
    nearest = np.where(found[:, 0] == asked, found[:, 1], found[:, 0])
    return float((codes[rows[nearest], 0] == codes[rows[asked], 0]).mean())


def pair_agreement(pairs: IntArray, codes: IntArray) -> dict[str, float] | None:
    """How often items chosen together share their level-0 code, and how often any two would.

    Args:
        pairs: (P, 2) int32 items, see ``data.alignment.cooccurring_pairs``.
        codes: (N, L).

    Returns:
        ``together`` and ``by_chance`` (two partners drawn apart, as often chosen), in [0, 1];
        None without pairs.
    """
    if not len(pairs):
        return None
    first = codes[pairs, 0]
    size = int(first.max()) + 1
    left, right = (np.bincount(first[:, side], minlength=size) for side in (0, 1))
    return {
        "together": float((first[:, 0] == first[:, 1]).mean()),
        "by_chance": float((left / len(pairs)) @ (right / len(pairs))),
    }
