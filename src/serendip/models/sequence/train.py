"""Trains networks over item sequences: every event is predicted from those before it.

Steps are packed batches with one shared draw of negatives. Training stops by the nDCG@10 of the
dataset's validation targets among all items; where it carries none, the last events of some users
are held back for that. The weights of the best validation are kept.

What a wrong order costs: sampled softmax, gBCE, full softmax. Torch, for training only.

All requests of a step share one draw of negatives, so their scores are a single matrix product.
Where the draw would be a good part of the catalogue, the whole catalogue takes its place.

Shapes: T requests of a step, K negatives, N items, D embedding size.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.models.early_stopping import Stopping, ndcg_of_wanted, train_epochs
from serendip.models.sequence.config import SequenceConfig, TrainedSequences
from serendip.models.sequence.network import SequenceNetwork
from serendip.models.sequence.packing import LongArray, Packed, Sequences, batches, batches_in_order
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads

WHOLE_BELOW = 2
"""Catalogues of at most this many times the negatives are scored whole."""


def draw_negatives(num_items: int, count: int, random: np.random.Generator) -> Tensor:
    """(K,) int64 uniform item numbers for one step; (N,) all of a small catalogue."""
    if num_items <= WHOLE_BELOW * count:
        return torch.arange(num_items)
    return torch.from_numpy(random.integers(0, num_items, count))


@dataclass(frozen=True, slots=True, eq=False)
class SequenceScores:
    """Scores of each request's own item and of the negatives.

    Args:
        own: (T,) score of the item that came next.
        others: (T, K) scores of the negatives; -inf where a negative is the own item.
        num_items: N, what the negatives stand for.
    """

    own: Tensor
    others: Tensor
    num_items: int


def shared_scores(
    encoded: Tensor,
    own: Tensor,
    others: Tensor,
    targets: Tensor,
    negatives: Tensor,
    num_items: int,
) -> SequenceScores:
    """Dot products of requests with their own items and with the negatives of the step.

    Args:
        encoded: (T, D).
        own: (T, D) vectors of the items that came next.
        others: (K, D) vectors of the negatives.
        targets: (T,) int64 numbers of the items that came next.
        negatives: (K,) int64.
        num_items: N, what the negatives stand for.
    """
    scores = encoded @ others.T
    hits = targets[:, None] == negatives
    return SequenceScores((encoded * own).sum(1), scores.masked_fill(hits, -torch.inf), num_items)


def sampled_softmax(scores: SequenceScores, log_q: FloatArray | None = None) -> Tensor:
    """Mean cross-entropy of the own item among itself and the negatives.

    Args:
        scores: of one step.
        log_q: (K,) log of how often each negative is expected in the draw; subtracted from its
            score, so that the sum estimates the full softmax. None = no correction, which for
            uniform negatives weighs the own item more.
    """
    others = scores.others if log_q is None else scores.others - torch.from_numpy(log_q)
    return functional.softplus(others.logsumexp(1) - scores.own).mean()


def full_softmax(encoded: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    """Mean cross-entropy of the own item among all items; what sampling estimates."""
    return functional.cross_entropy(encoded @ table.T, targets)


def gbce(scores: SequenceScores, calibration: float, bias: float = 0.0) -> Tensor:
    """Binary cross-entropy whose own item counts less, as sampling makes negatives too rare.

    gSASRec (Petrov and Macdonald, 2023): with a = K / (N - 1) the own item's log-sigmoid is
    weighed by b = a (t (1 - 1/a) + 1/a).

    Args:
        scores: of one step.
        calibration: t in [0, 1]; 0 = plain binary cross-entropy, 1 = as if nothing were sampled.
        bias: added to all scores; cosines need one, or all items are pushed to one side.
    """
    share = min(1.0, scores.others.shape[1] / max(1, scores.num_items - 1))
    weight = share * (calibration * (1 - 1 / share) + 1 / share)
    own = weight * functional.softplus(-scores.own - bias)
    return (own + functional.softplus(scores.others + bias).sum(1)).mean()


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
    """Train the network that is made for the histories that are learned from.

    Leaves torch's own random state as it was.
    """
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        training = SequenceTraining(make_network, dataset, config, options.seed)
        stopping = Stopping(config.epochs, config.patience, config.validate_every)
        digest = digest_of(training.past, training.targets, config, options.seed)
        train_epochs(training, stopping, options, digest, "Training on sequences")
        return training.finish()


@dataclass(frozen=True, slots=True, eq=False)
class StoppingTargets:
    """What the histories of some sequences are asked for to know when to stop.

    Args:
        rows: (V,) int32 sequences with at least one event.
        items: (V,) int32 item that came next; one outside the catalogue is a miss.
    """

    rows: IntArray
    items: IntArray


def past_and_targets(
    dataset: Dataset, most_held: int, random: np.random.Generator
) -> tuple[Sequences, StoppingTargets]:
    """What is learned from, and what decides when to stop; the second is not in the first."""
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
    """One training run and its state."""

    def __init__(
        self,
        make_network: Callable[[Sequences], SequenceNetwork],
        dataset: Dataset,
        config: SequenceConfig,
        seed: int,
    ) -> None:
        self.config = config
        self.num_items = dataset.num_items
        self.random = np.random.default_rng(seed)
        self.past, self.targets = past_and_targets(dataset, config.most_validated, self.random)
        self.module = make_network(self.past)
        self.optimiser = torch.optim.Adam(
            self.module.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), fused=True
        )

    def epoch(self, number: int) -> None:
        """Every event with a successor once."""
        self.module.train()
        windows = self.past.windows(self.config.max_len, self.random)
        drawn = list(batches(windows, self.config.batch_size, self.random))
        for step, batch in enumerate(drawn):
            self._rate(number + step / len(drawn))
            loss = self.loss(batch)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()

    def _rate(self, passes: float) -> None:
        """A straight line from the config's step size to nearly nothing after the last pass."""
        share = max(_LEAST_RATE, 1 - passes / self.config.epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * share

    def loss(self, batch: Packed) -> Tensor:
        """Mean loss of a batch's events."""
        encoded = self._encode(self.past, batch)
        targets = torch.from_numpy(self.past.items[batch.events + 1])
        negatives = draw_negatives(self.num_items, self.config.num_negatives, self.random)
        others = self.module.vectors(negatives)
        if self.config.loss == "sampled-softmax" and len(negatives) == self.num_items:
            return full_softmax(encoded, targets, others)
        own = self.module.vectors(targets)
        scores = shared_scores(encoded, own, others, targets, negatives, self.num_items)
        if self.config.loss == "sampled-softmax":
            return sampled_softmax(scores)
        calibration = self.config.calibration if self.config.loss == "gbce" else 0.0
        return gbce(scores, calibration, bias=-math.log(len(negatives)))

    def _encode(self, sequences: Sequences, batch: Packed) -> Tensor:
        items = torch.from_numpy(sequences.items[batch.events])
        encoded: Tensor = self.module(items, batch.blocks)
        return encoded

    @torch.no_grad()
    def validate(self) -> float | None:
        """Mean nDCG@10 of the stopping targets among all items outside their histories."""
        if not len(self.targets.rows):
            return None
        self.module.eval()
        recent, gain = self.past.last(self.config.max_len), 0.0
        vectors = self.module.vectors(torch.arange(self.num_items))
        wanted = np.full(len(self.past), self.num_items, np.int64)
        wanted[self.targets.rows] = self.targets.items
        for batch in batches_in_order(recent, self.targets.rows, _READ_AT_ONCE):
            encoded = self._encode(recent, batch)[torch.from_numpy(batch.last)]
            for start in range(0, len(batch.rows), _RANKED_AT_ONCE):
                part = slice(start, start + _RANKED_AT_ONCE)
                scores = (encoded[part] @ vectors.T).numpy()
                gain += self._gain(scores, batch.rows[part], wanted[batch.rows[part]])
        return gain / len(self.targets.rows)

    def _gain(self, scores: FloatArray, rows: LongArray, targets: LongArray) -> float:
        """Summed nDCG@10 of some sequences; ties count half."""
        known = targets < self.num_items
        scores, rows, targets = scores[known], rows[known], targets[known]
        lengths = self.past.lengths[rows]
        first = np.repeat(self.past.starts[rows] - (np.cumsum(lengths) - lengths), lengths)
        history = self.past.items[first + np.arange(len(first))]
        excluded = np.repeat(np.arange(len(rows)), lengths), history
        return float(ndcg_of_wanted(scores, targets, excluded).sum())

    @torch.no_grad()
    def finish(self) -> TrainedSequences:
        """Vectors of all items, the mean history and the exported network."""
        self.module.eval()
        table = self.module.items.detach().numpy().copy()
        total = np.zeros(table.shape[1])
        recent = self.past.last(self.config.max_len)
        everybody = np.arange(len(recent), dtype=np.int32)
        for batch in batches_in_order(recent, everybody, _READ_AT_ONCE):
            total += self._encode(recent, batch)[torch.from_numpy(batch.last)].numpy().sum(0)
        visitor = total / max(float(np.linalg.norm(total)), _SMALLEST)
        return TrainedSequences(self.module.graph(), table, visitor.astype(np.float32))


def digest_of(past: Sequences, targets: StoppingTargets, config: SequenceConfig, seed: int) -> str:
    """SHA-256 of everything that a training's numbers depend on."""
    digest = hashlib.sha256(f"{config.model_dump_json()} {seed}".encode())
    for array in (past.items, past.lengths, targets.rows, targets.items):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
