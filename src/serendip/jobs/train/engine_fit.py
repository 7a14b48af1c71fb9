"""Fits an engine: first on the older part of the data, which makes the ranker's rows, then on all.

The ranker is trained on out-of-time candidates: the other models are fitted on the older part of
the data, and their candidates for requests of the newer part become the ranker's training rows.
Then the other models are fitted on all of it: those trained by gradients continue (``OlderFit``),
the others are fitted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.dataset import Dataset
from serendip.data.events.repeats import Repeats
from serendip.data.splits import temporal
from serendip.engine.feature_names import REPEAT_FEATURES, context_parts
from serendip.engine.state import EngineState
from serendip.evaluate.decision import Decision
from serendip.jobs.surface_quality.record import QualityRecord
from serendip.jobs.train.continuation import OlderFit
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker.labels import INNER_FRACTION, has_ranker
from serendip.jobs.train.ranker.requests import NUM_SEARCH, label_logged_requests
from serendip.jobs.train.ranker.train import RankerFit, train_ranker_on_requests
from serendip.runtime.progress import TrainOptions


@dataclass(frozen=True, slots=True, eq=False)
class EngineFit:
    """An engine that was fitted.

    Args:
        state: on all data, or on the older part.
        older_fit: what models continue from, of the older part; None = too few data for two.
        record: answers to requests of the newer part; None = they were not asked for.
        ranker: with the context that it reads; None = there was nothing to learn from.
    """

    state: EngineState
    older_fit: OlderFit | None = None
    record: QualityRecord | None = None
    ranker: RankerFit | None = None

    @property
    def decisions(self) -> Sequence[Decision]:
        """About what the ranker reads and orders; none without a ranker."""
        return () if self.ranker is None else self.ranker.decisions


def fit_engine(
    fitter: Fitter,
    dataset: Dataset,
    name: str,
    options: TrainOptions,
) -> EngineFit:
    """Fit sources and ranker.

    ``name`` is a folder below the fitter's ``scratch``, for files that the state reads.
    """
    fitter.encode_items(dataset, options)
    inner = None
    if has_ranker(dataset):
        inner = fit_older_part(fitter, dataset, f"{name}-older", options)
    state = fitter.fit_state(dataset, name, options, None if inner is None else inner.older_fit)
    if inner is not None and inner.ranker is not None:
        state = _with_ranker(state, inner.ranker)
    else:  # nothing could choose
        named = fitter.settings.context.named
        state = replace(state, context=state.context.only(named, state.num_items))
    return EngineFit(state) if inner is None else replace(inner, state=state)


def fit_older_part(fitter: Fitter, dataset: Dataset, name: str, options: TrainOptions) -> EngineFit:
    """Fit the older part of a dataset, and the ranker on requests of the newer part.

    Previous codes may depend on the newer part, so they are not used here.
    """
    split = temporal(dataset, INNER_FRACTION)
    inner_fitter = replace(fitter, previous_codes=None)
    past = inner_fitter.fit_state(split.train, name, options, fitter.previous_fit)
    learned = OlderFit.of(past, split.cut)
    inner = fitter.append_new_items(past, split)
    fusion, counts = inner.fusion, np.zeros(len(split.catalogue), np.int32)
    counts[: split.train.num_items] = split.train.item_counts()
    with fitter.clock.stage("train ranker"):
        written = fitter.written_searches(split.catalogue, counts, fusion, NUM_SEARCH)
        logged = label_logged_requests(
            *(split, fitter.settings, inner.repeats),
            lambda texts: fitter.encode_texts(texts, fusion),
        )
        labelled = fitter.labelled_searches(split.catalogue.vocabulary, fusion)
        found = train_ranker_on_requests(
            *(inner, split, written, [*logged, ("search", labelled)], fitter.settings),
            fitter.with_time(options, "ranker"),
        )
    if found is not None:
        inner = replace(inner, context=found.context, ranker=found.ranker)
    record = None if fitter.on_older is None else fitter.on_older(inner, split, dataset)
    return EngineFit(inner, learned, record, found)


def _with_ranker(state: EngineState, found: RankerFit) -> EngineState:
    """The state with the ranker.

    Where the older part tells otherwise whether items come again, or has other parts of the
    context, it decides: the ranker orders by what it has learned of them.
    """
    learned = found.ranker.feature_names
    knows_repeats = not REPEAT_FEATURES.keys().isdisjoint(learned)
    if knows_repeats != state.repeats.is_on:
        never = Repeats.never(state.num_items) if knows_repeats else Repeats()
        state = replace(state, repeats=never)
    context = state.context.with_parts(context_parts(learned), state.num_items)
    return replace(state, context=context, ranker=found.ranker)
