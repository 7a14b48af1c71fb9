"""Words for people for the names in an answer that models and sources decide.

A model declares its label and where its candidates come from, a source of the engine its label, a
feature of the ranker its words in ``feature_names``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from serendip.engine.feature_names import OTHER_FEATURES, SCORED_KINDS, relative_name
from serendip.engine.stages.sources import OWN_SOURCES
from serendip.models.base import Recommender, ScoreKind

_SCORES: Mapping[ScoreKind, tuple[str, str]] = {
    "count": ("{} (score)", "{}, share of its best"),
    "similarity": ("{} (similarity)", "{}, distance to its best"),
}


@dataclass(frozen=True, slots=True)
class Labels:
    """Words by name; a name without words stands for itself.

    Args:
        numbers: of ``parts``: the features of the ranker.
        sources: of ``degraded``, and of ``from NAME`` in a trace: who proposes candidates.
    """

    numbers: Mapping[str, str]
    sources: Mapping[str, str]

    @classmethod
    def of(cls, models: Mapping[str, Recommender]) -> Self:
        """For the models of a generation, by the names that the settings give them."""
        numbers: dict[str, str] = {}
        for name, label in _distinct({name: one.label for name, one in models.items()}).items():
            kind = models[name].score_kind
            if kind in SCORED_KINDS:
                score, relative = _SCORES[kind]
                numbers[name] = score.format(label)
                numbers[relative_name(name)] = relative.format(label)
        sources = _distinct({name: one.source_label for name, one in models.items()})
        own = {name: source.label for name, source in OWN_SOURCES.items()}
        return cls({**numbers, **OTHER_FEATURES}, {**sources, **own})


def _distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """Where several models have the same label, all but the first have their name beside it."""
    result: dict[str, str] = {}
    for name, label in labels.items():
        result[name] = f"{label} [{name}]" if label in result.values() else label
    return result
