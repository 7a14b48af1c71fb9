"""The part ``models``: everything that is fitted on all events, with the word index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serendip.data.dataset import Dataset
from serendip.engine.state_parts import CONTENT, MODELS, open_models
from serendip.jobs.context import JobContext
from serendip.jobs.train.continuation import POSITION, describe_data
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.parts.plan import Draft, Part, PartInputs
from serendip.jobs.train.parts.ranker import read_older
from serendip.runtime.versions import Version


def build_models(inputs: PartInputs, draft: Draft | None) -> Draft:
    """Fit models and word index on the snapshot of the database.

    Models continue from the older part, of this training or of the generation in force.
    """
    assert draft is not None
    context = inputs.context
    dataset, options = context.dataset, context.options
    fitter = Fitter(context, inputs.scratch)
    state = fitter.fit_state(dataset, draft.content, "all", options, draft.ranker.older)
    data = describe_data(context)
    return replace(draft, state=state).with_facts(
        **{name: data[name] for name in POSITION},
        seed=options.seed,
        engine=options.executor.name,
        budget=context.budget.as_dict(),
        **_data_facts(dataset),
    )


def link_models(inputs: PartInputs, draft: Draft | None, current: Version) -> Draft:
    """The models of the generation in force, for the same items."""
    assert draft is not None
    return replace(draft, state=open_models(current.folder))


def read_models(context: JobContext, current: Version | None) -> Mapping[str, Any]:
    """What models are made from besides the content, that of the older part among it."""
    older = read_older(context, current)
    return {
        **older,
        "the data": describe_data(context),
        "the data of the older part": older["the data"],
    }


def _data_facts(dataset: Dataset) -> dict[str, Any]:
    events = dataset.events
    counts = {
        "items": dataset.num_items,
        "users": dataset.num_users,
        "events": len(events),
    }
    generated = {"written": 0, "generated_attributes": 0}
    for item in dataset.catalogue.items:
        generated["written"] += bool(item.generated_text)
        generated["generated_attributes"] += len(item.generated_attributes)
    return {
        "data_cut": float(events.timestamps[-1]) if len(events) else None,
        "counts": {**counts, **{name: count for name, count in generated.items() if count}},
    }


MODELS_PART = Part(MODELS, (CONTENT,), read_models, build_models, link_models)
