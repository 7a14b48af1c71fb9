"""Measures the fit on the older part of the data, for the gate of this training and the next."""

from __future__ import annotations

from serendip.data.dataset import Dataset
from serendip.data.splits import Split, next_choices
from serendip.engine.state import EngineState
from serendip.jobs.context import JobContext
from serendip.jobs.surface_quality.record import QualityRecord, record_quality
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder


def record_older(
    context: JobContext, state: EngineState, split: Split, dataset: Dataset
) -> QualityRecord:
    """Ask the surfaces of a state about the newer part of the data.

    Args:
        context: of the training.
        state: fitted on the older part, its ranker included; items numbered as in the split.
        split: older and newer part.
        dataset: both parts.
    """
    with context.clock.stage("gate requests"):
        choices = next_choices(dataset, split, state.repeats)
        limit = context.settings.gate.requests
        builder = SurfaceRequestBuilder.of(split, choices, context, state, limit)
        return record_quality(builder, state, dataset.countries_by_user())
