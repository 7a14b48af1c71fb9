"""The part ``ranker``: the fit on the older part of the data, and the ranker that learns from it.

It is built again after the data have grown by ``MOST_NEW``, not for every new event: the ranker
learns from a sample of the requests of the newest 15 % of the events.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from serendip.engine.state_parts import RANKER, save_ranker
from serendip.evaluate.decision import DECISIONS, write_decisions
from serendip.jobs.context import JobContext
from serendip.jobs.labels.agreement import require_plausible_labels
from serendip.jobs.suggestions.build import hash_written_queries
from serendip.jobs.surface_quality.record import RECORD_FILE, record_quality, save_record
from serendip.jobs.train.continuation import (
    OLDER_DATA,
    OLDER_FOLDER,
    choose_start,
    describe_encoder,
    describe_older_data,
)
from serendip.jobs.train.engine_fit import fit_ranker
from serendip.jobs.train.fingerprint import hash_labels
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.parts.plan import Part, PartInputs
from serendip.jobs.train.ranker.labels import require_actions


def build_ranker(inputs: PartInputs) -> Mapping[str, Any]:
    """Fit the older part of the data, the ranker on the newer part, and record what it answers."""
    context, current = inputs.context, inputs.current
    previous, warm_start = choose_start(context, current, inputs.warm)
    fitter = Fitter(context, inputs.scratch)
    fit = fit_ranker(
        fitter,
        context.dataset,
        inputs.content,
        "all-older",
        context.options,
        previous=previous,
        measure=partial(record_quality, context),
    )
    save_ranker(fit.ranker, inputs.folder)
    if fit.older is not None:
        fit.older.save(inputs.folder / OLDER_FOLDER)
    if fit.record is not None:
        save_record(fit.record, inputs.folder / RECORD_FILE)
    return {
        "warm_start": warm_start,
        OLDER_DATA: describe_older_data(context, current),
        DECISIONS: {RANKER: write_decisions(fit.decisions)},
    }


def require_learnable(context: JobContext) -> None:
    """Check what the ranker is to learn, before anything is trained.

    Raises:
        ConfigError: a target action does not occur in the training data.
        DataError: labels by an LLM are not plausible.
    """
    dataset, folder = context.dataset, context.workspace.folder
    require_actions(dataset, context.settings.ranker.actions)
    labels = [folder / name for name in context.settings.ranker.searches.labels]
    require_plausible_labels(context, dataset.catalogue, labels)


def read_ranker(inputs: PartInputs) -> Mapping[str, Any]:
    """What the ranker is made from: data, settings, IDs and files of the workspace."""
    context = inputs.context
    settings = context.settings.learned_from()
    for surface in settings["surfaces"].values():
        surface.pop("relevance_filter", None)
    return {
        **read_older(inputs),
        **{f"[{table}]": settings[table] for table in ("ranker", "surfaces")},
        "written queries": hash_written_queries(context.workspace),
        "labels": hash_labels(context.workspace),
    }


def read_older(inputs: PartInputs) -> Mapping[str, Any]:
    """What the fit on the older part is made from."""
    context = inputs.context
    settings = context.settings.learned_from()
    apart = ("queries", "train", "ranker", "surfaces")  # the budget is read by itself
    return {
        "the data": describe_older_data(context, inputs.current),
        "generated texts": context.snapshot.generated,
        **{f"[{table}]": values for table, values in settings.items() if table not in apart},
        "[queries] min_users": settings["queries"]["min_users"],
        "the encoder": describe_encoder(context),
        "--seed": context.options.seed,
        "--budget": context.budget.as_dict()["seconds"],
    }


RANKER_PART = Part(RANKER, (), read_ranker, build_ranker)
