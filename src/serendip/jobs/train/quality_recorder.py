"""Measures the fit on the older part of the data, for the gate of this training and the next."""

from __future__ import annotations

from dataclasses import dataclass

from serendip.data.dataset import Dataset
from serendip.data.splits import Split, next_choices
from serendip.engine.state import EngineState
from serendip.jobs.context import JobContext
from serendip.jobs.surface_quality.record import QualityRecord, record_quality
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder


@dataclass(frozen=True, slots=True)
class QualityRecorder:
    """Asks the surfaces of a state about the newer part of the data.

    Args:
        context: of the training.
    """

    context: JobContext

    def __call__(self, state: EngineState, split: Split, dataset: Dataset) -> QualityRecord:
        """Answers of a state.

        Args:
            state: fitted on the older part, its ranker included; items numbered as in the split.
            split: older and newer part.
            dataset: both parts.
        """
        with self.context.clock.stage("gate requests"):
            limit = self.context.settings.gate.requests
            choices = next_choices(dataset, split, state.repeats)
            builder = SurfaceRequestBuilder.of(split, choices, self.context, state, limit)
            return record_quality(builder, state, dataset.countries_by_user())
