"""Names of the ranker's features, in the order of its columns; part of every saved ranker."""

from __future__ import annotations

COUNT_MODELS = ("transitions", "item-knn")
"""Scores are sums of evidence, 0 = none: relative = divided by the best."""

DENSE_MODELS = ("retriever", "content")
"""Scores are similarities: relative = distance to the best."""

FEATURES: tuple[str, ...] = (
    *COUNT_MODELS,
    *(f"{name} relative" for name in COUNT_MODELS),
    *DENSE_MODELS,
    *(f"{name} relative" for name in DENSE_MODELS),
    "last item cosine",
    "query cosine",
    "bm25",
    "title match",
    "log popularity",
    "log recent popularity",
    "quality",
    "best code match",
    "mean code match",
    "log history length",
    "liked share",
)
