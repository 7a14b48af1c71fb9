"""What the retriever learns from, and what tells it when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.dataset import Dataset, EventLog, HeldOut


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What is learned from, and what decides when to stop.

    Args:
        log: all events.
        learned: (E,) bool, events that are predicted in training.
        asked: (E,) bool, events that are predicted to know when to stop; nothing learns from them.
        held_back: True where the asked ones are of the dataset itself, to be learned at the end.
        hidden: (Q,) bool, queries that are asked to know what plain words count for, and not
            learned before: what a model answers to words that it was shown says little of others.
    """

    log: EventLog
    learned: BoolArray
    asked: BoolArray
    held_back: bool
    hidden: BoolArray

    @classmethod
    def of(cls, dataset: Dataset, share: float) -> Examples:
        """From the validation targets of a dataset, or from its newest ``share`` of events.

        The same share of the queries is hidden, at least one text; see ``hidden_queries``.
        """
        log, queries = dataset.events, dataset.queries
        hidden = hidden_queries([] if queries is None else queries.texts, share)
        if dataset.validation is not None:
            log = _with_targets(dataset, dataset.validation)
            asked = np.arange(len(log)) >= len(dataset.events)
            return cls(log, ~asked, asked, False, hidden)
        asked = np.arange(len(log)) >= len(log) - int(len(log) * share)
        return cls(log, ~asked, asked, bool(asked.any()), hidden)


def hidden_queries(texts: Sequence[str], share: float) -> BoolArray:
    """(Q,) which queries to hide: all those of a ``share`` of the different texts, drawn once.

    Texts and not pairs: of words that many items answer to, hiding one answer alone would teach
    that it is wrong. Nothing is hidden where there is but one text, or no share.
    """
    if share == 0:
        return np.zeros(len(texts), np.bool_)
    different, text = np.unique(np.asarray(texts, dtype=str), return_inverse=True)
    count = max(1, int(share * len(different))) if len(different) > 1 else 0
    chosen = np.random.default_rng(0).permutation(len(different))[:count]
    return np.isin(text, chosen)


def _with_targets(dataset: Dataset, held: HeldOut) -> EventLog:
    """The log with each held-out item as its user's next event, a second after the last one."""
    log = dataset.events
    last = np.full(dataset.num_users, -np.inf)
    np.maximum.at(last, log.users, log.timestamps)
    known = (held.items < dataset.num_items) & np.isfinite(last[held.users])
    users, items = held.users[known], held.items[known]
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
