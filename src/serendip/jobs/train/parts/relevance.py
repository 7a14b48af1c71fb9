"""The part ``relevance``: models that leave out irrelevant items, with the texts of all items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serendip.evaluate.decision import Decision
from serendip.jobs.context import JobContext
from serendip.jobs.relevance.decisions import (
    FILTERS_KEY,
    MODELS_KEY,
    decide_filters,
    decisions_as_dict,
    proven_thresholds,
)
from serendip.jobs.relevance.versions import (
    RelevanceTexts,
    load_relevance_models,
    require_same_fields,
)
from serendip.jobs.train.draft import Draft
from serendip.jobs.train.parts.plan import Part, PartInputs
from serendip.models.relevance.model import RelevanceModel
from serendip.runtime.versions import CHECKSUM


def build_relevance(inputs: PartInputs, draft: Draft | None) -> Draft:
    """Add the distilled relevance models that surfaces filter by."""
    assert draft is not None
    context, models = inputs.context, dict[str, RelevanceModel]()
    filters, versions = decide_filters(context)
    if versions:
        with context.clock.stage("relevance model"):
            models = load_relevance_models(context, versions, draft.state.catalogue)
    thresholds = proven_thresholds(context, filters)
    state = replace(draft.state, relevance_models=models, relevance_thresholds=thresholds)
    names = {labels: version.name for labels, version in versions.items()}
    facts = {MODELS_KEY: names, FILTERS_KEY: decisions_as_dict(filters)}
    decisions = [
        Decision(f"relevance filter: {surface}", found.on, reason=found.describe())
        for surface, found in filters.items()
    ]
    return draft.with_state(state, **facts).with_decisions(RELEVANCE.name, decisions)


def read_relevance(context: JobContext) -> Mapping[str, Any]:
    """What the models are made from, besides the items.

    Raises:
        ArtefactError: a surface names a threshold, and its relevance model is damaged.
        DataError: a model was trained on other fields, or with another encoder.
        NotTrainedError: a surface names a threshold, and there is no model.
    """
    filters, versions = decide_filters(context)
    require_same_fields(context, versions.values())
    return {
        "filters": decisions_as_dict(filters),
        "relevance models": {
            labels: [version.name, version.manifest.get(CHECKSUM)]
            for labels, version in versions.items()
        },
        "texts of items": RelevanceTexts(context).reads,
    }


RELEVANCE = Part("relevance", ("models",), read_relevance, build_relevance)
