"""The part ``models``: everything that is fitted on all events, with the word index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serendip.data.dataset import Dataset
from serendip.engine.state_parts import CONTENT, MODELS, WORDS, save_models
from serendip.jobs.train.continuation import OLDER_FOLDER, POSITION, OlderFit, describe_data
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.parts.plan import Part, PartInputs
from serendip.jobs.train.parts.ranker import read_older
from serendip.jobs.train.space import SPACE_FOLDER, continue_space


def build_models(inputs: PartInputs) -> Mapping[str, Any]:
    """Fit models and word index on the snapshot of the database.

    Models continue from the older part, of this training or of the generation in force.
    """
    context, folder = inputs.context, inputs.folder
    dataset, options = context.dataset, context.options
    is_there = (folder / OLDER_FOLDER).is_dir()
    older = OlderFit.open(folder / OLDER_FOLDER) if is_there else None
    fitter = Fitter(context, inputs.scratch)
    state = fitter.fit_state(dataset, inputs.content, "all", options, older, folder / WORDS)
    save_models(state, folder)
    space, space_facts = continue_space(inputs.current, state)
    if space is not None:
        space.save(folder / SPACE_FOLDER)
    data = describe_data(context)
    return {
        **{name: data[name] for name in POSITION},
        "seed": options.seed,
        "engine": options.executor.name,
        "budget": context.budget.as_dict(),
        "space": space_facts,
        **_data_facts(dataset),
    }


def read_models(inputs: PartInputs) -> Mapping[str, Any]:
    """What models are made from besides the content, that of the older part among it."""
    older = read_older(inputs)
    return {
        **older,
        "the data": describe_data(inputs.context),
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


MODELS_PART = Part(MODELS, (CONTENT,), read_models, build_models)
