"""Training of sequential recommenders: next-item prediction at every event, and its loss. Torch.

The loss is sampled softmax. Steps are packed batches whose requests share one draw of negatives, so
their scores are a single matrix product; if the draw would be a large part of the catalogue, the
whole catalogue replaces it. Early stopping is
by nDCG@10 of the dataset's validation targets among all items; if it has none, the last events of
some users are held out. The weights of the best validation are kept.

Shapes: T requests of a step, K negatives, N items, V validation targets, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from serendip.data import Dataset, FloatArray, IntArray
from serendip.models.early_stopping import compute_target_ndcg, train_epochs
from serendip.models.sequence.config import SequenceConfig, TrainedSequences
from serendip.models.sequence.network import SequenceNetwork
from serendip.models.sequence.packing import LongArray, Packed, Sequences, batches, batches_in_order
from serendip.runtime.budget import UNLIMITED, Allowance
from serendip.runtime.optimiser import AdamW
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads

WHOLE_BELOW = 2
"""Catalogues of at most this many times the negatives are scored whole."""


def draw_negatives(num_items: int, count: int, random: np.random.Generator) -> Tensor:
    """Draw uniform negatives of a step: (K,) int64 item numbers; (N,) all of a small catalogue."""
    if num_items <= WHOLE_BELOW * count:
        return torch.arange(num_items)
    return torch.from_numpy(random.integers(0, num_items, count))


def sampled_softmax(
    encoded: Tensor, own: Tensor, others: Tensor, targets: Tensor, negatives: Tensor
) -> Tensor:
    """Sampled softmax: mean cross-entropy of the target among itself and the negatives.

    Vectors of requests and of their own targets are (T, D), those of the negatives of the step (K,
    D); a negative that is the target does not count.
    """
    scores = encoded @ others.T  # (T, K)
    scores = scores.masked_fill(targets[:, None] == negatives, -torch.inf)
    return functional.softplus(scores.logsumexp(1) - (encoded * own).sum(1)).mean()


def full_softmax(encoded: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    """Full softmax: mean cross-entropy of the target among all items, which sampling estimates."""
    return functional.cross_entropy(encoded @ table.T, targets)


_READ_AT_ONCE, _RANKED_AT_ONCE = 1_024, 128
_HELD_SHARE, _LEAST_HELD_FROM = 0.1, 3
_SMALLEST = 1e-12
_LEAST_RATE = 0.02


def train_sequences(
    make_network: Callable[[Sequences], SequenceNetwork],
    dataset: Dataset,
    config: SequenceConfig,
    options: TrainOptions,
) -> TrainedSequences:
    """Train the network that ``make_network`` builds for the training histories.

    Torch's global random state is not changed.
    """
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        training = SequenceTraining(make_network, dataset, config, options.seed, options.allowance)
        limits = config.epochs, config.patience, config.validate_every
        train_epochs(training, options, "Training on sequences", *limits)
        return training.finish()


@dataclass(frozen=True, slots=True, eq=False)
class StoppingTargets:
    """Validation targets for early stopping.

    Args:
        rows: (V,) int32 sequences with at least one event.
        items: (V,) int32 next item; one outside the catalogue counts as a miss.
    """

    rows: IntArray
    items: IntArray


def past_and_targets(
    dataset: Dataset, most_held: int, random: np.random.Generator
) -> tuple[Sequences, StoppingTargets]:
    """Split into training histories and validation targets, which do not overlap."""
    past = Sequences.of_users(dataset.events, dataset.num_users)
    if dataset.validation is not None:
        users, items = dataset.validation.users, dataset.validation.items
        filled = past.lengths[users] > 0
        return past, StoppingTargets(users[filled], items[filled])
    long_enough = np.flatnonzero(past.lengths >= _LEAST_HELD_FROM)
    count = min(most_held, int(_HELD_SHARE * len(long_enough)))
    users = np.sort(random.permutation(long_enough)[:count]).astype(np.int32)
    items = past.items[past.starts[users] + past.lengths[users] - 1].astype(np.int32)
    return past.without_last(users.astype(np.int64)), StoppingTargets(users, items)


class SequenceTraining:
    """One training run and its state: histories, network and optimiser."""

    def __init__(
        self,
        make_network: Callable[[Sequences], SequenceNetwork],
        dataset: Dataset,
        config: SequenceConfig,
        seed: int,
        allowance: Allowance = UNLIMITED,
    ) -> None:
        self.config, self.allowance = config, allowance
        self.num_steps = 0
        self.num_items = dataset.num_items
        self.random = np.random.default_rng(seed)
        self.past, self.targets = past_and_targets(dataset, config.most_validated, self.random)
        self.module = make_network(self.past)
        self.optimiser = AdamW(
            self.module.parameters(), config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        )

    def epoch(self, number: int) -> None:
        """Train one epoch: predict the successor of every event that has one."""
        self.module.train()
        windows = self.past.windows(self.config.max_len, self.random)
        packed = list(batches(windows, self.config.batch_size, self.random))
        for step, batch in enumerate(packed):
            done = (number + step / len(packed)) / self.config.epochs
            if self.allowance.is_over:
                self.allowance.cut(done, steps=self.num_steps)
                break
            self._set_rate(self.allowance.pace(done))
            loss = self.loss(batch)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.num_steps += 1

    def _set_rate(self, done: float) -> None:
        """Set the learning rate: linear decay to 2 % at the end. ``done``: share of training."""
        share = max(_LEAST_RATE, 1 - done)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * share

    def loss(self, batch: Packed) -> Tensor:
        """Mean loss of a batch's events."""
        encoded = self._encode(self.past, batch)  # (T, D)
        targets = torch.from_numpy(self.past.items[batch.events + 1])  # (T,)
        negatives = draw_negatives(self.num_items, self.config.num_negatives, self.random)  # (K,)
        others = self.module.vectors(negatives)  # (K, D)
        if len(negatives) == self.num_items:
            return full_softmax(encoded, targets, others)
        own = self.module.vectors(targets)  # (T, D)
        return sampled_softmax(encoded, own, others, targets, negatives)

    def _encode(self, sequences: Sequences, batch: Packed) -> Tensor:
        items = torch.from_numpy(sequences.items[batch.events])
        encoded: Tensor = self.module(items, batch.blocks)
        return encoded

    @torch.no_grad()
    def validate(self) -> float | None:
        """Mean nDCG@10 of the validation targets among all items outside their histories."""
        if not len(self.targets.rows):
            return None
        self.module.eval()
        recent, gain = self.past.last(self.config.max_len), 0.0
        vectors = self.module.vectors(torch.arange(self.num_items))
        wanted = np.full(len(self.past), self.num_items, np.int64)
        wanted[self.targets.rows] = self.targets.items
        for batch in batches_in_order(recent, self.targets.rows, _READ_AT_ONCE):
            encoded = self._encode(recent, batch)[torch.from_numpy(batch.last)]  # (B, D)
            for start in range(0, len(batch.rows), _RANKED_AT_ONCE):
                part = slice(start, start + _RANKED_AT_ONCE)
                scores = (encoded[part] @ vectors.T).numpy()
                gain += self._gain(scores, batch.rows[part], wanted[batch.rows[part]])
        return gain / len(self.targets.rows)

    def _gain(self, scores: FloatArray, rows: LongArray, targets: LongArray) -> float:
        """Sum of nDCG@10 of sequences ``rows`` by scores (B, N); ties count half."""
        in_catalogue = targets < self.num_items
        scores, rows, targets = scores[in_catalogue], rows[in_catalogue], targets[in_catalogue]
        lengths = self.past.lengths[rows]
        first = np.repeat(self.past.starts[rows] - (np.cumsum(lengths) - lengths), lengths)
        history = self.past.items[first + np.arange(len(first))]
        excluded = np.repeat(np.arange(len(rows)), lengths), history
        return float(compute_target_ndcg(scores, targets, excluded).sum())

    @torch.no_grad()
    def finish(self) -> TrainedSequences:
        """Export the trained network: item table, mean history vector and ONNX graph."""
        self.module.eval()
        table = self.module.items.detach().numpy().copy()
        total = np.zeros(table.shape[1])
        recent = self.past.last(self.config.max_len)
        everybody = np.arange(len(recent), dtype=np.int32)
        for batch in batches_in_order(recent, everybody, _READ_AT_ONCE):
            total += self._encode(recent, batch)[torch.from_numpy(batch.last)].numpy().sum(0)
        visitor = total / max(float(np.linalg.norm(total)), _SMALLEST)
        return TrainedSequences(self.module.graph(), table, visitor.astype(np.float32))
