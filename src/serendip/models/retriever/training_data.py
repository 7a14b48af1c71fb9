"""What a training of the retriever learns from and stops by.

Shapes: U users, Q example queries; E is the number of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.dataset import Dataset, EventLog, HeldOut


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSplit:
    """Training and validation events, and held-out queries.

    Args:
        learned: (E,) bool, training targets.
        is_validation: (E,) bool, validation targets: they decide when to stop, without gradients.
        held_back: True if the validation targets are events of the dataset itself, which are
            learned at the end.
        hidden: (Q,) bool, held-out queries, which tune the weight of content in search. They are
            not trained before that: scores of trained queries say little about other queries.
    """

    log: EventLog
    learned: BoolArray
    is_validation: BoolArray
    held_back: bool
    hidden: BoolArray

    @classmethod
    def of(cls, dataset: Dataset, share: float) -> TrainingSplit:
        """Split by the dataset's validation targets, or hold back its newest ``share`` of events.

        The same share of the queries is held out, at least one text; see ``held_out_queries``.
        """
        log, queries = dataset.events, dataset.queries
        hidden = held_out_queries([] if queries is None else queries.texts, share)
        if dataset.validation is not None:
            log = _with_targets(dataset, dataset.validation)
            is_validation = np.arange(len(log)) >= len(dataset.events)
            return cls(log, ~is_validation, is_validation, False, hidden)
        is_validation = np.arange(len(log)) >= len(log) - int(len(log) * share)
        held_back = bool(is_validation.any())
        return cls(log, ~is_validation, is_validation, held_back, hidden)


def held_out_queries(texts: Sequence[str], share: float) -> BoolArray:
    """Mask (Q,) of the held-out queries: all with a text among a ``share`` of the distinct texts.

    Texts are held out, not (query, item) pairs: holding out one of many relevant items of a text
    would train it as a negative. None are held out with a single text or a share of 0.
    """
    if share == 0:
        return np.zeros(len(texts), np.bool_)
    everything = np.asarray(texts, dtype=str)
    distinct = np.unique(everything)
    count = max(1, int(share * len(distinct))) if len(distinct) > 1 else 0
    # A fixed seed: the same texts are held out whatever the seed of the training.
    chosen = np.random.default_rng(0).permutation(len(distinct))[:count]
    return np.isin(everything, distinct[chosen])


def _with_targets(dataset: Dataset, held: HeldOut) -> EventLog:
    """Append each held-out item as its user's next event, a second after the last one.

    Items that are not in the dataset and users without events are left out.
    """
    log = dataset.events
    last = np.full(dataset.num_users, -np.inf)  # (U,)
    np.maximum.at(last, log.users, log.timestamps)
    is_usable = (held.items < dataset.num_items) & np.isfinite(last[held.users])
    users, items = held.users[is_usable], held.items[is_usable]
    return EventLog(
        np.concatenate([log.users, users]),
        np.concatenate([log.items, items]),
        np.concatenate([log.timestamps, last[users] + 1.0]),
        np.concatenate([log.liked, np.zeros(len(users), np.bool_)]),
        np.concatenate([log.values, np.full(len(users), np.nan, np.float32)]),
        None
        if log.strengths is None
        else np.append(log.strengths, np.ones(len(users), np.float32)),
    )
