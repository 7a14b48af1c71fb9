"""Training of the unified ranker: DCN-v2 network, its losses and the ONNX export. Torch.

The loss is binary cross-entropy per action plus a listwise softmax within each query.

The network is a deep-and-cross network with parallel towers (Wang et al. 2021, "DCN V2", WWW).
Differences: full-rank cross layers without mixture of experts; the input is standardised features
with an indicator of missing ones and a task embedding, in place of feature embeddings; one output
per action.

Shapes: R rows, F features, A actions, Q queries of a step, T size of a task embedding, W width of
the input (2 F + T), H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from serendip.data import FloatArray
from serendip.models.early_stopping import train_epochs
from serendip.models.onnx import to_onnx
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.runtime.optimiser import AdamW
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads

_TASK_SIZE, _NUM_CROSS, _NUM_HIDDEN = 8, 2, 2
"""Size of a task embedding; cross layers of DCN-v2, each multiplies the input, element by element,
with a learned linear map of the layer before; layers of the deep tower."""

_LISTWISE_WEIGHT = 0.2
"""Of the listwise loss, added to cross-entropy. A larger weight moves probabilities towards 0.5 for
no gain in order."""

_WEIGHT_DECAY = 1e-3

_MAX_DEVIATIONS = 6.0
"""Standardised values are clipped here, so that an outlier cannot dominate the score."""

_MAX_VALUE = 1e30
"""Infinite values are replaced by this: infinity times a scale of 0 would be NaN."""


class RankerNetwork(nn.Module):
    """DCN-v2: raw features (NaN = missing) and the task -> a logit per action."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: FloatArray, config: RankerConfig) -> None:
        super().__init__()
        mean, scale = fit_standardisation(features)  # (F,) each
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.tasks = nn.Parameter(torch.randn(config.num_tasks, _TASK_SIZE) * 0.5)
        width = 2 * features.shape[1] + _TASK_SIZE
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(_NUM_CROSS))
        sizes = [width, *[config.hidden_size] * _NUM_HIDDEN]
        self.deep = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.out = nn.Linear(width + config.hidden_size, len(config.actions))

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """Logits (R, A) of features (R, F) and tasks (R,)."""
        missing = torch.isnan(features)  # (R, F)
        values = torch.where(missing, self.mean, features).clamp(-_MAX_VALUE, _MAX_VALUE)
        # Missing features become the mean, 0 once standardised.
        values = ((values - self.mean) * self.scale).clamp(-_MAX_DEVIATIONS, _MAX_DEVIATIONS)
        # (R, 2 F + T) = (R, W)
        inputs = torch.cat([values, missing.float(), functional.embedding(task, self.tasks)], 1)
        # Cross layer of DCN-v2: x_{l+1} = x_0 * (W x_l + b) + x_l.
        crossed = inputs
        for layer in self.cross:
            crossed = inputs * layer(crossed) + crossed  # (R, W)
        deep = inputs
        for layer in self.deep:
            deep = functional.relu(layer(deep))  # (R, H)
        logits: Tensor = self.out(torch.cat([crossed, deep], 1))  # (R, A)
        return logits


class ServedRanker(nn.Module):
    """Network for export: probabilities instead of logits."""

    def __init__(self, network: RankerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """Probabilities (R, A)."""
        return torch.sigmoid(self.network(features, task))


def fit_standardisation(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean (F,) and 1 / standard deviation (F,) of the finite values of features (R, F).

    The scale of a constant feature is 0: no weight was learned for it, so a different value at
    serving time must not change scores.
    """
    total, squares, count = np.zeros((3, features.shape[1]))  # (F,) each
    for block in _blocks(features):
        is_finite = np.isfinite(block)  # (b, F)
        count += is_finite.sum(0)
        total += np.where(is_finite, block, 0).sum(0, dtype=np.float64)
    count = np.maximum(count, 1)
    mean = total / count
    for block in _blocks(features):
        centred = np.where(np.isfinite(block), block - mean.astype(np.float32), 0)  # (b, F)
        squares += (centred**2).sum(0, dtype=np.float64)
    deviation = np.sqrt(squares / count)  # (F,)
    is_constant = deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-6)
    scale = np.where(is_constant, 0.0, 1.0 / np.where(is_constant, 1.0, deviation))
    return mean.astype(np.float32), scale.astype(np.float32)


def _blocks(features: FloatArray) -> Iterator[FloatArray]:
    """Rows (R, F) in blocks, so that copies of them need little memory."""
    size = 65_536
    yield from (features[begin : begin + size] for begin in range(0, len(features), size))


_MIN_QUERIES = 20
"""With fewer queries none is held out, and training runs for all epochs."""


def train_ranker(rows: RankerRows, config: RankerConfig, options: TrainOptions) -> bytes:
    """Train a ranker and export it to ONNX: (features (R, F), task (R,)) -> probabilities (R, A).

    Torch's global random state does not change.
    """
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        training = RankerTraining(rows, config, options.seed)
        train_epochs(training, options, "training the ranker", config.epochs, config.patience)
        return training.export()


@dataclass(frozen=True, slots=True, eq=False)
class GroupedRows:
    """Rows sorted by query.

    Args:
        order: (R,) row numbers, query by query.
        begin: (Q,) index in ``order`` at which each query starts.
        size: (Q,) rows of each query.
    """

    order: NDArray[np.int64]
    begin: NDArray[np.int64]
    size: NDArray[np.int64]

    @classmethod
    def of(cls, group: NDArray[np.integer], max_rows: int) -> GroupedRows:
        """Group rows by query number (R,); queries of more than ``max_rows`` rows are split."""
        order = np.argsort(group, kind="stable")  # (R,)
        ordered = group[order]
        is_first = np.r_[True, ordered[1:] != ordered[:-1]]  # (R,)
        index = np.arange(len(order))
        position = index - np.maximum.accumulate(np.where(is_first, index, 0))  # within the query
        begin = np.flatnonzero(position % max_rows == 0)  # (Q,)
        return cls(order, begin, np.diff(np.r_[begin, len(order)]))

    def batches(
        self, groups: NDArray[np.int64], batch_size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of whole queries: row numbers (R,) and their query's index (R,) in it.

        Groups (G,) are used in their order; a batch ends with the query that fills it.
        """
        size = self.size[groups]  # (G,)
        stop = np.cumsum(size)  # (G,) end of each query in the concatenation of all rows
        offset = np.repeat(self.begin[groups] - (stop - size), size)
        rows = self.order[offset + np.arange(len(offset))]
        step = (stop - size) // batch_size  # (G,) batch of each query
        borders = np.flatnonzero(np.r_[True, step[1:] != step[:-1], True])
        starts = np.r_[0, stop]
        for low, high in pairwise(borders):
            query = np.repeat(np.arange(high - low), size[low:high])
            yield torch.from_numpy(rows[starts[low] : starts[high]]), torch.from_numpy(query)


class RankerTraining:
    """Training run of a ranker: data, network, optimiser and held-out queries."""

    def __init__(self, rows: RankerRows, config: RankerConfig, seed: int) -> None:
        self.config = config
        self.random = np.random.default_rng(seed)
        self.module, self.num_steps = RankerNetwork(rows.features, config), 0
        self.features = torch.from_numpy(np.ascontiguousarray(rows.features, np.float32))
        self.task = torch.from_numpy(rows.task.astype(np.int64))
        self.labels = torch.from_numpy(rows.labels.astype(np.float32))
        self.weights = torch.from_numpy(rows.weights.astype(np.float32))
        self.grouped = GroupedRows.of(rows.group, config.batch_size)
        groups = self.random.permutation(len(self.grouped.begin))
        num_held_out = int(len(groups) * config.validation_share)
        if len(groups) < _MIN_QUERIES:
            num_held_out = 0
        self.held_out, self.training_queries = groups[:num_held_out], groups[num_held_out:]
        self.optimiser = AdamW(
            self.module.parameters(), config.learning_rate, weight_decay=_WEIGHT_DECAY
        )

    def epoch(self, number: int) -> None:
        """Pass once over the training queries; the rate falls to a tenth over all epochs."""
        rate = 0.1 + 0.9 * (1 - number / self.config.epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * rate
        order = self.random.permutation(self.training_queries)
        for rows, query in self.grouped.batches(order, self.config.batch_size):
            loss = self.loss(rows, query)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.num_steps += 1

    @torch.no_grad()
    def validate(self) -> float | None:
        """Minus the mean loss of the held-out batches; None without held-out queries."""
        if not len(self.held_out):
            return None
        batches = self.grouped.batches(self.held_out, self.config.batch_size)
        losses = (self.loss(rows, query) for rows, query in batches)
        return -float(np.mean([float(loss) for loss in losses]))

    def loss(self, rows: Tensor, query: Tensor) -> Tensor:
        """Weighted mean loss of rows (R,); ``query`` (R,) is the index of each row's query."""
        logits = self.module(self.features[rows], self.task[rows])  # (R, A)
        labels, weights = self.labels[rows], self.weights[rows]  # (R, A), (R,)
        entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        total = weights.sum().clamp(min=1e-9) * labels.shape[1]
        pointwise = (entropy * weights[:, None]).sum() / total
        listwise = listwise_loss(logits, labels * weights[:, None], query)
        return pointwise + _LISTWISE_WEIGHT * listwise

    def export(self) -> bytes:
        """Export the trained network to ONNX."""
        # Two rows: an axis of length 1 would be exported as a constant.
        example = (self.features[:1].expand(2, -1).contiguous(), self.task[:1].expand(2).clone())
        return to_onnx(
            ServedRanker(self.module),
            example,
            ("features", "task"),
            ("probabilities",),
            ({0: "rows"}, {0: "rows"}),
        )


def listwise_loss(logits: Tensor, gains: Tensor, query: Tensor) -> Tensor:
    """Softmax cross-entropy among the rows of each query, averaged over all gains.

    ListNet's top-one loss (Cao et al. 2007) per action; difference: gains are weighted labels, not
    a softmax of them, so queries without a positive row contribute nothing.

    Args:
        logits: (R, A).
        gains: (R, A) weighted labels.
        query: (R,) index of each row's query.
    """
    index = query[:, None].expand_as(logits)  # (R, A)
    empty = logits.new_full((int(query.max()) + 1, logits.shape[1]), -torch.inf)  # (Q, A)
    # Log-sum-exp per query, shifted by its maximum so that exp cannot overflow.
    maximum = empty.scatter_reduce(0, index, logits.detach(), "amax")  # (Q, A)
    powers = torch.exp(logits - maximum[query])  # (R, A)
    sums = torch.zeros_like(empty).index_add(0, query, powers)  # (Q, A)
    normaliser = maximum + torch.log(sums)  # (Q, A)
    return (gains * (normaliser[query] - logits)).sum() / gains.sum().clamp(min=1e-9)
