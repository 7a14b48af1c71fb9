"""Labels for people of the names in answers: each stage, model and feature declares its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from serendip.engine.fallback import LABELS as FALLBACK_LABELS
from serendip.engine.feature_names import (
    CONTEXT_FEATURES,
    OTHER_FEATURES,
    REPEAT_FEATURES,
    SCORED_KINDS,
    label_of_user_feature,
    relative_name,
)
from serendip.engine.stages.pipeline import TRACE_LABELS
from serendip.engine.stages.selection import SurfaceStages
from serendip.engine.stages.sources import OWN_SOURCES, Source
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.models.base import Recommender, ScoreKind

_SCORES: Mapping[ScoreKind, tuple[str, str]] = {
    "count": ("{} (score)", "{}, share of its best"),
    "similarity": ("{} (similarity)", "{}, distance to its best"),
}


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels by name; a name without a label stands for itself.

    Args:
        numbers: of ``parts``: features of the ranker, and columns that stages add.
        trace: of the keys of a trace.
        components: of models, other sources and stages that can be in ``degraded``.
    """

    numbers: Mapping[str, str]
    trace: Mapping[str, str]
    components: Mapping[str, str]

    @classmethod
    def of(cls, models: Mapping[str, Recommender], surfaces: Mapping[str, SurfaceConfig]) -> Self:
        """Collect the labels of models, by their names in the settings, and of all stages."""
        source_labels = {name: model.source_label for name, model in models.items()}
        own_labels = {name: source.label for name, source in OWN_SOURCES.items()}
        sources = {**_distinct(source_labels), **own_labels}
        numbers = {**_model_numbers(models), **OTHER_FEATURES, **REPEAT_FEATURES}
        trace, components = dict(TRACE_LABELS), dict(FALLBACK_LABELS)
        for names in CONTEXT_FEATURES.values():
            numbers |= names
        stages = [stage for surface in surfaces.values() for stage in SurfaceStages.of(surface)]
        for stage in stages:
            numbers |= stage.numbers
            if not isinstance(stage, Source):
                trace |= stage.trace_labels
            if stage.failure_label:
                components[stage.name] = stage.failure_label
        trace |= {f"from {name}": f"From {label}" for name, label in sources.items()}
        return cls(numbers, trace, components | sources)

    def number(self, name: str) -> str:
        """Label of a number in ``parts``."""
        return self.numbers.get(name) or label_of_user_feature(name)

    def stage(self, key: str) -> str:
        """Label of a count in a trace."""
        return self.trace.get(key, key)

    def component(self, name: str) -> str:
        """Label of a name in ``degraded``."""
        return self.components.get(name, name)


def _model_numbers(models: Mapping[str, Recommender]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for name, label in _distinct({name: model.label for name, model in models.items()}).items():
        kind = models[name].score_kind
        if kind in SCORED_KINDS:
            score, relative = _SCORES[kind]
            labels[name] = score.format(label)
            labels[relative_name(name)] = relative.format(label)
    return labels


def _distinct(labels: Mapping[str, str]) -> dict[str, str]:
    # Of several equal ones all but the first have the model's name beside them.
    result: dict[str, str] = {}
    for name, label in labels.items():
        result[name] = f"{label} [{name}]" if label in result.values() else label
    return result
