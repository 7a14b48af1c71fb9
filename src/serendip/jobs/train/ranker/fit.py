"""Trains the ranker of a fit, on requests of the newer part of the data."""

from __future__ import annotations

import numpy as np

from serendip.data.splits import Split
from serendip.engine.state import EngineState
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker.requests import NUM_SEARCH, label_logged_requests
from serendip.jobs.train.ranker.search_order_choice import SEARCH_ORDER
from serendip.jobs.train.ranker.train import RankerFit, train_ranker_on_requests
from serendip.runtime.progress import TrainOptions


def fit_ranker(
    fitter: Fitter, split: Split, inner: EngineState, options: TrainOptions
) -> RankerFit | None:
    """Train the ranker on the newer part; None if there is nothing to learn from.

    Args:
        fitter: settings and clock.
        split: older and newer part.
        inner: fitted on the older part, with the items of the newer one.
        options: seed and progress.
    """
    fusion, counts = inner.fusion, np.zeros(len(split.catalogue), np.int32)
    counts[: split.train.num_items] = split.train.item_counts()
    with fitter.clock.stage("train ranker"):
        written = fitter.written_searches(split.catalogue, counts, fusion, NUM_SEARCH)
        logged = label_logged_requests(
            *(split, fitter.settings, inner.repeats),
            lambda texts: fitter.encode_texts(texts, fusion),
        )
        labelled = fitter.labelled_searches(split.catalogue.vocabulary, fusion)
        return train_ranker_on_requests(
            *(inner, split, written, [*logged, ("search", labelled)], fitter.settings),
            fitter.with_time(options, "ranker"),
            fitter.decided_in_force(SEARCH_ORDER),
        )
