"""Trains the ranker of a fit, on requests of the newer part of the data.

It does so beside the models of the older part, or, of many items, from the files of these: then the
rows are made by tasks where that pays (``row_tasks``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from serendip.content.fusion import Fusion
from serendip.data.arrays import IntArray
from serendip.data.dataset import Dataset, QueryExamples
from serendip.data.splits import Split, temporal
from serendip.engine.state import EngineState
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker.actions import INNER_FRACTION
from serendip.jobs.train.ranker.labelled_query import LabelledRequests
from serendip.jobs.train.ranker.requests import NUM_SEARCH, label_logged_requests
from serendip.jobs.train.ranker.row_tasks import CandidateTasks
from serendip.jobs.train.ranker.rows import HERE, CandidateLabeller
from serendip.jobs.train.ranker.state_folder import open_state
from serendip.jobs.train.ranker.train import train_ranker_on_requests
from serendip.runtime.progress import TrainOptions

RANKER_FOLDER, STATE_FOLDER = "ranker", "state"
"""Folders among the files of the older part."""

FEWEST_WORKERS = 3
"""Of this machine that make rows by tasks: each starts a process and opens the state first, which
two workers have not been seen to regain."""


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


def fit_ranker_of_files(
    fitter: Fitter, dataset: Dataset, folder: Path, options: TrainOptions
) -> None:
    """Train the ranker on a state that the older part handed over.

    Args:
        fitter: settings, encoders and clock.
        dataset: both parts.
        folder: where the older part wrote it, and the ranker is written.
        options: seed, progress, and the executor that makes the rows.
    """
    split, given = temporal(dataset, INNER_FRACTION), folder.resolve() / STATE_FOLDER
    inner = open_state(given)
    asked = RankerRequests.of(fitter, split, inner.fusion)
    labeller, executor = HERE, options.executor
    if executor.workers >= FEWEST_WORKERS or not executor.is_local:
        labeller = CandidateTasks(given, executor)
    fit_ranker(fitter, dataset, split, inner, asked, folder, options, labeller)


def fit_ranker(
    fitter: Fitter,
    dataset: Dataset,
    split: Split,
    inner: EngineState,
    asked: RankerRequests,
    folder: Path,
    options: TrainOptions,
    labeller: CandidateLabeller = HERE,
) -> None:
    """Train the ranker on the newer part, write it, and measure the state with it."""
    with fitter.clock.stage("train ranker"):
        timed = fitter.with_time(options, "ranker")
        in_force = fitter.search_order_in_force()
        written, labelled = asked.written, asked.labelled
        settings = fitter.settings
        found = train_ranker_on_requests(
            inner, split, written, labelled, settings, timed, in_force, labeller
        )
    if found is not None:
        found.ranker.save(folder / RANKER_FOLDER)
        found.choice.save(folder)
        inner = replace(inner, context=found.context).with_ranker(found.ranker)
    if fitter.on_older is not None:
        fitter.on_older(inner, split, dataset, folder)


def _extend(counts: IntArray, num_items: int) -> IntArray:
    """Counts (N,) of more items, which have none."""
    return np.append(counts, np.zeros(num_items - len(counts), np.int32))
