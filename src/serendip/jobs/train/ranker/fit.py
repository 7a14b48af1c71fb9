"""Trains the ranker of a fit, on requests of the newer part of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from serendip.content.fusion import Fusion
from serendip.data.arrays import IntArray
from serendip.data.dataset import QueryExamples
from serendip.data.splits import Split
from serendip.engine.state import EngineState
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker.labelled_query import LabelledRequests
from serendip.jobs.train.ranker.requests import NUM_SEARCH, label_logged_requests
from serendip.jobs.train.ranker.search_order_choice import SEARCH_ORDER
from serendip.jobs.train.ranker.train import RankerFit, train_ranker_on_requests
from serendip.runtime.progress import TrainOptions


@dataclass(frozen=True, slots=True, eq=False)
class RankerRequests:
    """What the ranker learns from besides the moments of the newer part.

    Args:
        written: queries that were written for items.
        labelled: logged requests, and queries with labels, by surface.
    """

    written: QueryExamples
    labelled: LabelledRequests

    @classmethod
    def of(cls, fitter: Fitter, split: Split, fusion: Fusion) -> Self:
        """Read them, with the text vectors of a fusion; items are numbered as in the split."""
        counts = _extend(split.train.item_counts(), len(split.catalogue))
        written = fitter.written_searches(split.catalogue, counts, fusion, NUM_SEARCH)
        logged = label_logged_requests(
            split, fitter.settings, lambda texts: fitter.encode_texts(texts, fusion)
        )
        labelled = fitter.labelled_searches(split.catalogue.vocabulary, fusion)
        return cls(written, [*logged, ("search", labelled)])


def fit_ranker(
    fitter: Fitter, split: Split, inner: EngineState, asked: RankerRequests, options: TrainOptions
) -> RankerFit | None:
    """Train the ranker on the newer part; None if there is nothing to learn from.

    Args:
        fitter: settings and clock.
        split: older and newer part.
        inner: fitted on the older part, with the items of the newer one.
        asked: other requests to learn from.
        options: seed and progress.
    """
    with fitter.clock.stage("train ranker"):
        timed = fitter.with_time(options, "ranker")
        in_force = fitter.decided_in_force(SEARCH_ORDER)
        return train_ranker_on_requests(
            inner, split, asked.written, asked.labelled, fitter.settings, timed, in_force
        )


def _extend(counts: IntArray, num_items: int) -> IntArray:
    """Counts (N,) of more items, which have none."""
    return np.append(counts, np.zeros(num_items - len(counts), np.int32))
