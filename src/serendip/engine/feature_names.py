"""Names of the ranker's features, in the order of its columns, with their words for people.

The configured models decide most of them: each model gives two, which its ``score_kind`` names. The
names are part of every saved ranker.
"""

from __future__ import annotations

from collections.abc import Mapping

from serendip.models.base import Recommender, ScoreKind

OTHER_FEATURES: Mapping[str, str] = {
    "last item cosine": "Likeness to the last item",
    "query cosine": "Likeness to the words in meaning",
    "bm25": "Words found (BM25)",
    "title match": "Title matches the words",
    "log popularity": "Popularity (log)",
    "log recent popularity": "Popularity of late (log)",
    "quality": "Quality",
    "best code match": "Levels shared with the nearest item",
    "mean code match": "Levels shared on average",
    "log history length": "Length of the history (log)",
    "liked share": "Share of likes in the history",
}
"""Features that are not the scores of a model: name -> label."""

SCORED_KINDS: tuple[ScoreKind, ...] = ("count", "similarity")
"""Kinds of models whose scores are features, in the order of the columns."""

_FIRST = ("transitions", "item-knn", "retriever", "content")
"""Of the models of each kind these come first; the others follow in the order of the settings."""


def models_of_kind(models: Mapping[str, Recommender], kind: ScoreKind) -> list[str]:
    """Names of the models of a score kind, in the order of their features."""
    names = [name for name in _FIRST if name in models]
    names += [name for name in models if name not in _FIRST]
    return [name for name in names if models[name].score_kind == kind]


def feature_names(models: Mapping[str, Recommender]) -> tuple[str, ...]:
    """Names of the columns of a feature matrix.

    Args:
        models: by name, in the order of the settings.
    """
    names: list[str] = []
    for kind in SCORED_KINDS:
        own = models_of_kind(models, kind)
        names += [*own, *map(relative_name, own)]
    return (*names, *OTHER_FEATURES)


def relative_name(model: str) -> str:
    """Name of the feature that compares a score with the best score of the query."""
    return f"{model} relative"
