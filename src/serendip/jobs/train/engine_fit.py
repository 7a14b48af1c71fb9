"""Fits an engine: first on the older part of the data, which makes the ranker's rows, then on all.

The ranker is trained on out-of-time candidates: the other models are fitted on the older part of
the data, and their candidates for requests of the newer part become the ranker's training rows.
Then the other models are fitted on all of it: those trained by gradients continue (``OlderFit``),
the others are fitted again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from serendip.data.dataset import Dataset
from serendip.data.splits import Split, temporal
from serendip.engine.state import EngineState
from serendip.engine.state_parts import CatalogueContent
from serendip.evaluate.decision import Decision
from serendip.jobs.surface_quality.record import QualityRecord
from serendip.jobs.train.continuation import OlderFit
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker.labels import INNER_FRACTION, has_ranker
from serendip.jobs.train.ranker.requests import NUM_SEARCH, label_logged_requests
from serendip.jobs.train.ranker.train import train_ranker_on_requests
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import TrainOptions

Measure = Callable[[EngineState, Split, Dataset], QualityRecord]
"""Records answers of a state of the older part, its ranker included, with the item numbers of the
split."""


@dataclass(frozen=True, slots=True, eq=False)
class RankerResult:
    """A ranker, and the fit on the older part of the data that it learned from.

    Args:
        ranker: None = there was nothing to learn from.
        older: what models continue from; None = too few data for two parts.
        record: answers to requests of the newer part; None = they were not asked for.
        decisions: about what the ranker reads and orders.
    """

    ranker: Ranker | None = None
    older: OlderFit | None = None
    record: QualityRecord | None = None
    decisions: Sequence[Decision] = field(default_factory=tuple)


def fit_engine(
    fitter: Fitter, dataset: Dataset, name: str, options: TrainOptions
) -> tuple[EngineState, Sequence[Decision]]:
    """Fit everything on a dataset; also the decisions about what the ranker reads and orders.

    ``name`` is a folder below the fitter's ``scratch``, for files that the state reads.
    """
    fitter.encode_items(dataset, options)
    content = fitter.build_content(dataset, options)
    fit = fit_ranker(fitter, dataset, content, f"{name}-older", options)
    state = fitter.fit_state(dataset, content, name, options, fit.older)
    return state.with_ranker(fit.ranker), fit.decisions


def fit_ranker(
    fitter: Fitter,
    dataset: Dataset,
    content: CatalogueContent,
    name: str,
    options: TrainOptions,
    previous: OlderFit | None = None,
    measure: Measure | None = None,
) -> RankerResult:
    """Fit the older part of a dataset, and the ranker on requests of the newer part.

    Models begin from ``previous``, of the older part of an earlier training; None = from nothing.
    The items of the older part have codebooks of their own, which begin from those of the content.
    """
    if not has_ranker(dataset):
        return RankerResult()
    split = temporal(dataset, INNER_FRACTION)
    past = fitter.build_content(split.train, options, content.codebooks, content.fusion)
    state = fitter.fit_state(split.train, past, name, options, previous)
    older = OlderFit.of(state, split.cut)
    state = fitter.append_new_items(state, split)
    fusion, counts = state.fusion, np.zeros(len(split.catalogue), np.int32)
    counts[: split.train.num_items] = split.train.item_counts()
    with fitter.clock.stage("train ranker"):
        written = fitter.written_searches(split.catalogue, counts, fusion, NUM_SEARCH)
        logged = label_logged_requests(
            split,
            fitter.settings,
            state.repeats,
            lambda texts: fitter.encode_texts(texts, fusion),
        )
        labelled = fitter.labelled_searches(split.catalogue.vocabulary, fusion)
        found = train_ranker_on_requests(
            state,
            split,
            written,
            [*logged, ("search", labelled)],
            fitter.settings,
            fitter.with_time(options, "ranker"),
        )
    ranker, decisions = found or (None, ())
    record = None if measure is None else measure(state.with_ranker(ranker), split, dataset)
    return RankerResult(ranker, older, record, decisions)
