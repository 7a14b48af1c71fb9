"""Agreement of semantic IDs with content and behaviour: pairs of items with the same first code.

Shapes: N items, D vector size, L levels, P pairs, S sampled items.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.runtime.threads import num_threads

_MAX_SAMPLE = 5_000
"""Items whose nearest neighbour is searched; more do not change the share."""


def neighbour_agreement(content: FloatArray, codes: IntArray, seed: int = 0) -> float | None:
    """Share of up to 5,000 items whose nearest item by content has the same level-0 code.

    Args:
        content: (N, D) float32 vectors; items without content (zeros) are left out.
        codes: (N, L) codes, not necessarily of these vectors.
        seed: of the sample.

    Returns:
        in [0, 1]; None with fewer than two items.
    """
    import faiss

    rows = np.flatnonzero(content.any(1))  # items with content
    if len(rows) < 2:
        return None
    faiss.omp_set_num_threads(num_threads())
    index = faiss.IndexFlatIP(content.shape[1])
    vectors = np.ascontiguousarray(content[rows], dtype=np.float32)
    index.add(vectors)
    sample = np.arange(len(rows))
    if len(sample) > _MAX_SAMPLE:
        sample = np.random.default_rng(seed).choice(sample, _MAX_SAMPLE, replace=False)  # (S,)
    _, neighbours = index.search(vectors[sample], 2)  # (S, 2); one of them may be the item itself
    nearest = np.where(neighbours[:, 0] == sample, neighbours[:, 1], neighbours[:, 0])  # (S,)
    return float((codes[rows[nearest], 0] == codes[rows[sample], 0]).mean())


def pair_agreement(pairs: IntArray, codes: IntArray) -> dict[str, float] | None:
    """Share of item pairs chosen together that have the same level-0 code, and of random pairs.

    Args:
        pairs: (P, 2) int32 items, see ``data.dataset.cooccurring_pairs``.
        codes: (N, L).

    Returns:
        ``together``, and ``by_chance`` for independent partners with the same frequencies, in
        [0, 1]; None without pairs.
    """
    if not len(pairs):
        return None
    first = codes[pairs, 0]  # (P, 2) level-0 codes
    size = int(first.max()) + 1
    left, right = (np.bincount(first[:, side], minlength=size) for side in (0, 1))  # (K,) each
    return {
        "together": float((first[:, 0] == first[:, 1]).mean()),
        "by_chance": float((left / len(pairs)) @ (right / len(pairs))),
    }
