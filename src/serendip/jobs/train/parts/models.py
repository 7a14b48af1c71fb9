"""The part ``models``: content and codes, word index, models, ranker, and the record of the gates.

The fit on the older part of the data is within it: its models are not kept, as a change of one of
them changes what the ranker learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from serendip.content.encoders.base import identify
from serendip.content.features import encode_media
from serendip.content.posted_media import MEDIA_ENCODERS
from serendip.content.semantic_ids.kmeans import measure_code_quality
from serendip.data.dataset import Dataset
from serendip.engine.artefacts.generations import (
    ERASED,
    ERASED_ITEMS,
    EVENT_SEQ,
    ITEM_VERSION,
    REMOVALS,
)
from serendip.evaluate.decision import DECISIONS, write_decisions
from serendip.jobs.context import JobContext
from serendip.jobs.labels.agreement import require_plausible_labels
from serendip.jobs.suggestions.build import hash_written_queries
from serendip.jobs.surface_quality.record import record_quality
from serendip.jobs.train.continuation import (
    PreviousCodes,
    choose_start,
    describe_encoder,
)
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fingerprint import hash_labels
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.parts.plan import Draft, Part, PartInputs
from serendip.jobs.train.ranker.labels import require_actions

_ALL = "all"

_POSITION = (ITEM_VERSION, EVENT_SEQ, REMOVALS, ERASED, ERASED_ITEMS)


def build_models(inputs: PartInputs, draft: Draft | None) -> Draft:
    """Fit features, models, word index and ranker on the snapshot of the database."""
    context = inputs.context
    dataset = context.require_items()
    require_actions(dataset, context.settings.ranker.actions)
    labels = [context.workspace.folder / name for name in context.settings.ranker.searches.labels]
    require_plausible_labels(context, dataset.catalogue, labels)
    encoder = describe_encoder(context)
    earlier = PreviousCodes.of(inputs.current, context.settings)
    previous, warm_start = choose_start(context, inputs.current, inputs.warm)
    on_older = partial(record_quality, context)
    fitter = Fitter(context, inputs.scratch, earlier, previous, on_older)
    items, progress = dataset.catalogue.items, context.options.progress
    media = encode_media(items, context.vectors, context.media, progress)[1]
    fitted = fit_engine(fitter, dataset, _ALL, context.options)
    state = fitted.state
    facts = {
        **_read_position(context),
        "seed": context.options.seed,
        "engine": context.options.executor.name,
        **_data_facts(dataset),
        "semantic_ids": {
            **asdict(measure_code_quality(state.features.codes, state.features.codebook_size)),
            "kept": earlier.compare(state.features.codes, dataset.catalogue) if earlier else [],
        },
        "media": {name: report.as_dict() for name, report in media.items()},
        MEDIA_ENCODERS: {
            name: asdict(identify(source.encoder)) for name, source in context.media.items()
        },
        "encoder": encoder,
        "warm_start": warm_start,
        "budget": context.budget.as_dict(),
        DECISIONS: {"models": write_decisions(fitted.decisions)},
    }
    return Draft(state, facts, fitted.older_fit, fitted.record)


def read_models(context: JobContext) -> Mapping[str, Any]:
    """What models are made from: data, settings, IDs and files of the workspace."""
    workspace, settings = context.workspace, context.settings.learned_from()
    queries = settings.pop("queries")
    settings.pop("train", None)  # the budget is read by itself
    for surface in settings["surfaces"].values():
        surface.pop("relevance_filter", None)
    return {
        "the data": {
            **_read_position(context),
            "user_changes": context.snapshot.user_changes,
            "generated": context.snapshot.generated,
        },
        **{f"[{table}]": values for table, values in settings.items()},
        "[queries] min_users": queries["min_users"],
        "written queries": hash_written_queries(workspace),
        "files of pictures and sounds": {
            name: source.states(context.dataset.catalogue.items)
            for name, source in context.media.items()
        },
        "labels": hash_labels(workspace),
        "the encoder": describe_encoder(context),
        "--seed": context.options.seed,
        "--budget": context.budget.as_dict()["seconds"],
    }


def _read_position(context: JobContext) -> dict[str, int]:
    snapshot = context.snapshot
    place = (snapshot.item_version, snapshot.event_seq, snapshot.event_removals)
    return dict(
        zip(_POSITION, (*place, snapshot.last_erasure, snapshot.last_item_erasure), strict=True)
    )


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


MODELS = Part("models", (), read_models, build_models)
