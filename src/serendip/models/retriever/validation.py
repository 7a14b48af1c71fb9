"""What a training of the retriever learns from, and the sample of requests that it stops by.

**Validation**: a fixed sample of requests is ranked among a fixed sample of items. A validation
costs the same however large the catalogue is. Catalogues of up to ``RANKED_WHOLE`` items are ranked
whole. Of a larger one the targets are ranked among ``NUM_RANKED`` random items and the targets of
the other requests: values are higher than those of all items, and are only compared with one
another (Krichene and Rendle 2020, "On Sampled Metrics for Item Recommendation").

Shapes: B rows, T steps, M requests per row, R requests with a target, N items, C ranked items,
U users, Q example queries, E events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data import BoolArray, Dataset, EventLog, FloatArray
from serendip.data.dataset import HeldOut
from serendip.models.early_stopping import compute_target_ndcg
from serendip.models.retriever.batches import BatchBuilder, TrainingBatch, cut_rows
from serendip.models.retriever.requests import NONE, LongArray


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


MOST_REQUESTS = 4_000
RANKED_WHOLE, NUM_RANKED = 20_000, 10_000

_ROWS_AT_ONCE = 128


@dataclass(frozen=True, slots=True, eq=False)
class ValidationSample:
    """Fixed validation requests of one task.

    Args:
        ranked: (C,) int64 items that the targets are ranked among, ascending; all targets are.
    """

    blocks: Sequence[TrainingBatch]
    ranked: LongArray

    @classmethod
    def of(cls, maker: BatchBuilder, task: int, num_items: int) -> ValidationSample:
        """Draw the requests of a task; always the same for the same events."""
        random, log = np.random.default_rng(0), maker.log
        rows = cut_rows(log, maker.max_len, np.zeros(len(log.starts), np.int64))
        order = random.permutation(len(rows.begin))
        blocks: list[TrainingBatch] = []
        count = 0
        for start in range(0, len(order), _ROWS_AT_ONCE):
            batch = maker.asked_batch(rows.take(order[start : start + _ROWS_AT_ONCE]), task)
            num_targets = int((batch.target >= 0).sum())
            if num_targets:
                blocks.append(batch)
                count += num_targets
            if count >= MOST_REQUESTS:
                break
        if num_items <= RANKED_WHOLE:
            return cls(blocks, np.arange(num_items))
        drawn = random.choice(num_items, NUM_RANKED, replace=False)
        targets = [batch.target[batch.target >= 0] for batch in blocks]
        return cls(blocks, np.unique(np.concatenate([drawn, *targets])))

    @property
    def used_items(self) -> LongArray:
        """Items whose vectors the requests need, with repetitions."""
        return np.concatenate([self.ranked, *(batch.used_items for batch in self.blocks)])


@dataclass(frozen=True, slots=True, eq=False)
class ValidationRequests:
    """Validation requests of a task; scores (R, C) of ranked items (C,), which ascend."""

    batch: TrainingBatch
    ranked: LongArray
    scores: FloatArray

    @property
    def columns(self) -> LongArray:
        """(R,) column of each target among the ranked items."""
        return np.searchsorted(self.ranked, self.batch.target[self.batch.target >= 0])

    @property
    def excluded(self) -> tuple[LongArray, LongArray]:
        """Index pairs (request, column) that are not ranked: items in the history, and the source.

        A request's own target is always ranked.
        """
        request, step = np.nonzero(shown(self.batch))  # pairs of (R, T)
        has_target = self.batch.target >= 0  # (B, M)
        row = np.nonzero(has_target)[0][request]
        source = self.batch.source[has_target]  # (R,)
        with_source = np.flatnonzero(source != NONE)
        requests = np.concatenate([request, with_source])
        items = np.concatenate([self.batch.items[row, step], source[with_source]])
        columns = np.minimum(np.searchsorted(self.ranked, items), len(self.ranked) - 1)
        is_ranked = self.ranked[columns] == items
        return requests[is_ranked], columns[is_ranked]

    def gain(self) -> float:
        """Sum of the targets' nDCG@10, ranked by the network's scores."""
        return self.gains(0.0, 0.0, [0.0])[0]

    def gains(
        self, weighted: FloatArray | float, fixed: FloatArray | float, weights: Sequence[float]
    ) -> list[float]:
        """Sum of the targets' nDCG@10 for each weight.

        Scores (R, C) that are weighted are added to the network's, and fixed ones as they are.
        """
        row, columns, excluded = np.arange(len(self.scores)), self.columns, self.excluded
        scores = self.scores + fixed
        own = scores[row, columns]
        scores[excluded] = -np.inf
        scores[row, columns] = own
        summed, nothing = np.empty_like(scores), (columns[:0], columns[:0])
        gains = []
        for weight in weights:
            np.add(scores, np.float32(weight) * weighted, out=summed)
            gains.append(float(compute_target_ndcg(summed, columns, nothing).sum()))
        return gains


def shown(batch: TrainingBatch) -> BoolArray:
    """Mask (R, T) of the history steps visible to each request with a target."""
    steps: BoolArray = (batch.places[:, None, :] < batch.prefix[:, :, None])[batch.target >= 0]
    return steps
