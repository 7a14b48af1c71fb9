"""The quality of a training, request by request, so that a later training can be compared with it.

The ranker of a training learns from models that were fitted on the older part of the data. These
models, with that ranker, have seen no event of the newer part as evidence of what comes next: they
answer its requests as the generation will answer those of tomorrow. The record keeps the nDCG@10 of
each of these answers with the key of its request. As requests are sampled by hashes, two trainings
have asked mostly the same ones, and neither had learned the answers.

Shapes: T requests, S slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.dataset import Dataset
from serendip.data.splits import Split, next_choices
from serendip.engine.state import EngineState
from serendip.errors import ArtefactError
from serendip.evaluate.runs import Values
from serendip.evaluate.surface_quality import ALL, RANKING, value_lists
from serendip.jobs.context import JobContext
from serendip.jobs.surface_quality.answers import answer_engine, sells
from serendip.jobs.surface_quality.kinds import find_slices
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder, SurfaceRequests
from serendip.jobs.surface_quality.sample import Keys, hash_key

RECORD_FILE = "quality.npz"
"""File in a generation."""

METRIC = RANKING[0].label

LISTS = "what people see"
"""Stands for a surface whose slices are measures of lists, each of requests of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedSurface:
    """Answers of one surface.

    Args:
        keys: (T,) uint64 of the requests.
        users: (T,) uint64 hashes of their users.
        slices: S names, ``all`` first.
        values: (T, S) float64 nDCG@10 of each request in each slice; NaN where it is not in it.
    """

    keys: Keys
    users: Keys
    slices: NDArray[np.str_]
    values: Values


@dataclass(frozen=True, slots=True, eq=False)
class QualityRecord:
    """Answers of all surfaces.

    Args:
        surfaces: name -> answers; surfaces that nothing could be asked are left out.
    """

    surfaces: Mapping[str, RecordedSurface]

    def save(self, path: Path) -> None:
        """Write into a file."""
        arrays = {
            f"{name}/{part}": getattr(surface, part)
            for name, surface in self.surfaces.items()
            for part in ("keys", "users", "slices", "values")
        }
        np.savez(path, allow_pickle=False, **arrays)

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """Read what ``save`` wrote; None without the file.

        Raises:
            ArtefactError: the file cannot be read.
        """
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                names = dict.fromkeys(key.rpartition("/")[0] for key in arrays.files)
                return cls(
                    {
                        name: RecordedSurface(
                            arrays[f"{name}/keys"],
                            arrays[f"{name}/users"],
                            arrays[f"{name}/slices"],
                            arrays[f"{name}/values"],
                        )
                        for name in names
                    }
                )
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(
                f"{path} has no readable record: {error}.", "Run `serendip train` again."
            ) from None


def record_quality(
    context: JobContext, state: EngineState, split: Split, dataset: Dataset
) -> QualityRecord:
    """Ask every surface of a state about the newer part of the data.

    Args:
        context: of the training.
        state: fitted on the older part, its ranker included; items numbered as in the split.
        split: older and newer part.
        dataset: both parts.
    """
    recorded, countries = {}, dataset.countries_by_user()
    with context.clock.stage("gate requests"):
        choices = next_choices(dataset, split, state.repeats)
        limit = context.settings.gate.requests
        builder = SurfaceRequestBuilder.of(split, choices, context, state, limit)
        for name, surface in context.settings.all_surfaces().items():
            if surface.sponsored is not None and not sells(surface, state):
                continue  # the same list as without places for sale
            if surface.likeness is not None:
                continue  # what is chosen next says nothing about it
            requests = builder.build(name)
            if len(requests):
                lists = answer_engine(requests.queries, surface, state)
                recorded[name] = _record(requests, lists, split, countries)
    return QualityRecord(recorded)


def _record(
    requests: SurfaceRequests,
    lists: NDArray[np.int32],
    split: Split,
    countries: Mapping[str, str],
) -> RecordedSurface:
    columns = {ALL: value_lists(lists, requests.relevant)[:, 0]}
    slices = find_slices(split, requests.queries, requests.relevant, countries)
    for name, part in slices.items():
        columns[name] = np.full(len(requests), np.nan)
        columns[name][part.rows] = value_lists(lists[part.rows], part.relevant)[:, 0]
    return RecordedSurface(
        requests.keys,
        np.array([hash_key(user) for user in requests.users.tolist()], np.uint64),
        np.array(list(columns), np.str_),
        np.column_stack(list(columns.values())),
    )
