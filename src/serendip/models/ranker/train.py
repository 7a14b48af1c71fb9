"""Training of the unified ranker: DCN-v2 network, its losses and the ONNX export. Torch.

The loss is cross-entropy per action plus a softmax within each query. The network is a
deep-and-cross network (DCN-v2, Wang et al. 2021).

Shapes: R rows, F features, A actions, Q queries of a step, W width of the input (2 F and the task's
embedding).
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

from serendip.data.arrays import FloatArray
from serendip.models.onnx import to_onnx
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads

_FARTHEST = 6.0
"""Standardised values beyond this are cut: one odd row must not carry a candidate away."""

_LARGEST = 1e30
"""Infinite values become this, so that a scale of 0 still silences them."""


class RankerNetwork(nn.Module):
    """Logits of actions from raw features, NaN included, and the task."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: FloatArray, config: RankerConfig) -> None:
        super().__init__()
        mean, scale = standardisation(features)
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.tasks = nn.Parameter(torch.randn(config.num_tasks, config.task_size) * 0.5)
        width = 2 * features.shape[1] + config.task_size
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(config.num_cross))
        sizes = [width, *[config.hidden_size] * config.num_hidden]
        self.deep = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.out = nn.Linear(width + config.hidden_size, len(config.actions))

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """Logits (R, A) of features (R, F) and tasks (R,)."""
        missing = torch.isnan(features)
        known = torch.where(missing, self.mean, features).clamp(-_LARGEST, _LARGEST)
        known = ((known - self.mean) * self.scale).clamp(-_FARTHEST, _FARTHEST)
        first = torch.cat([known, missing.float(), functional.embedding(task, self.tasks)], 1)
        crossed = first
        for layer in self.cross:
            crossed = first * layer(crossed) + crossed
        deep = first
        for layer in self.deep:
            deep = functional.relu(layer(deep))
        logits: Tensor = self.out(torch.cat([crossed, deep], 1))
        return logits


class ServedRanker(nn.Module):
    """The network as it is exported: probabilities instead of logits."""

    def __init__(self, network: RankerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """Probabilities (R, A)."""
        return torch.sigmoid(self.network(features, task))


def standardisation(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean (F,) and 1 / standard deviation (F,) of the finite values.

    A constant gets scale 0: nothing can be learned of it, so it must not speak when it changes.
    """
    finite = np.isfinite(features)
    count = np.maximum(finite.sum(0), 1)
    mean = np.where(finite, features, 0).sum(0, dtype=np.float64) / count
    centred = np.where(finite, features - mean.astype(np.float32), 0)
    spread = np.sqrt((centred**2).sum(0, dtype=np.float64) / count)
    flat = spread <= 1e-6 * np.maximum(np.abs(mean), 1e-6)
    scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, spread))
    return mean.astype(np.float32), scale.astype(np.float32)


_FEWEST_GROUPS = 20
"""With fewer queries none is held out: training runs for all epochs."""


def train_ranker(rows: RankerRows, config: RankerConfig, options: TrainOptions) -> bytes:
    """Train and export; leaves torch's own random state as it was.

    Returns:
        ONNX bytes: (features (R, F), task (R,)) -> probabilities (R, A).
    """
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        training = RankerTraining(rows, config, options.seed)
        training.run(options)
        return training.finish()


@dataclass(frozen=True, slots=True, eq=False)
class GroupedRows:
    """Rows in order of their query.

    Args:
        order: (R,) row numbers, query by query.
        begin: (Q,) where each query starts in ``order``.
        size: (Q,) its number of rows.
    """

    order: NDArray[np.int64]
    begin: NDArray[np.int64]
    size: NDArray[np.int64]

    @classmethod
    def of(cls, group: NDArray[np.integer], most: int) -> GroupedRows:
        """Group rows by query; a query of more than ``most`` rows is cut into pieces."""
        order = np.argsort(group, kind="stable")
        ordered = group[order]
        first = np.r_[True, ordered[1:] != ordered[:-1]]
        index = np.arange(len(order))
        since = index - np.maximum.accumulate(np.where(first, index, 0))
        begin = np.flatnonzero(since % most == 0)
        return cls(order, begin, np.diff(np.r_[begin, len(order)]))

    def batches(
        self, groups: NDArray[np.int64], batch_size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Whole queries in the order given: row numbers (R,) and their place (R,) in the step."""
        size = self.size[groups]
        stop = np.cumsum(size)
        offset = np.repeat(self.begin[groups] - (stop - size), size)
        rows = self.order[offset + np.arange(len(offset))]
        step = (stop - size) // batch_size
        borders = np.flatnonzero(np.r_[True, step[1:] != step[:-1], True])
        starts = np.r_[0, stop]
        for low, high in pairwise(borders):
            place = np.repeat(np.arange(high - low), size[low:high])
            yield torch.from_numpy(rows[starts[low] : starts[high]]), torch.from_numpy(place)


class RankerTraining:
    """One training run and its state."""

    def __init__(self, rows: RankerRows, config: RankerConfig, seed: int) -> None:
        self.config = config
        self.random = np.random.default_rng(seed)
        self.network = RankerNetwork(rows.features, config)
        self.features = torch.from_numpy(np.ascontiguousarray(rows.features, np.float32))
        self.task = torch.from_numpy(rows.task.astype(np.int64))
        self.labels = torch.from_numpy(rows.labels.astype(np.float32))
        self.weights = torch.from_numpy(rows.weights.astype(np.float32))
        self.grouped = GroupedRows.of(rows.group, config.batch_size)
        groups = self.random.permutation(len(self.grouped.begin))
        held_out = int(len(groups) * config.validation_share)
        if len(groups) < _FEWEST_GROUPS:
            held_out = 0
        self.held_out, self.learned = groups[:held_out], groups[held_out:]
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.reg,
            fused=True,
        )

    def run(self, options: TrainOptions) -> None:
        """Pass over the rows until held-out queries are no longer predicted better."""
        best, state, waited = np.inf, self._state(), 0
        epochs = range(self.config.epochs)
        for epoch in options.progress.track(epochs, "training the ranker", len(epochs)):
            self._epoch(0.1 + 0.9 * (1 - epoch / len(epochs)))
            if not len(self.held_out):
                continue
            loss, waited = self.validate(), waited + 1
            if loss < best:
                best, state, waited = loss, self._state(), 0
            if waited >= self.config.patience:
                break
        if len(self.held_out):
            self.network.load_state_dict(state)

    def _state(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.network.state_dict().items()}

    def _epoch(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * rate
        order = self.random.permutation(self.learned)
        for rows, place in self.grouped.batches(order, self.config.batch_size):
            loss = self.loss(rows, place)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss of the held-out queries' steps."""
        batches = self.grouped.batches(self.held_out, self.config.batch_size)
        return float(np.mean([float(self.loss(rows, place)) for rows, place in batches]))

    def loss(self, rows: Tensor, place: Tensor) -> Tensor:
        """Weighted mean loss of rows (R,) whose queries are numbered by ``place`` (R,)."""
        logits = self.network(self.features[rows], self.task[rows])
        labels, weights = self.labels[rows], self.weights[rows]
        entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        total = weights.sum().clamp(min=1e-9) * labels.shape[1]
        pointwise = (entropy * weights[:, None]).sum() / total
        if not self.config.listwise_weight:
            return pointwise
        return pointwise + self.config.listwise_weight * listwise(
            logits, labels * weights[:, None], place
        )

    def finish(self) -> bytes:
        """ONNX bytes of the trained network."""
        example = (self.features[:1].expand(2, -1).contiguous(), self.task[:1].expand(2).clone())
        return to_onnx(
            ServedRanker(self.network),
            example,
            ("features", "task"),
            ("probabilities",),
            ({0: "rows"}, {0: "rows"}),
        )


def listwise(logits: Tensor, gains: Tensor, place: Tensor) -> Tensor:
    """Softmax cross-entropy among the rows of each query, a mean over all gains.

    Args:
        logits: (R, A).
        gains: (R, A) weighted labels; a query without any adds nothing.
        place: (R,) number of each row's query.
    """
    index = place[:, None].expand_as(logits)
    empty = logits.new_full((int(place.max()) + 1, logits.shape[1]), -torch.inf)
    highest = empty.scatter_reduce(0, index, logits.detach(), "amax")
    powers = torch.exp(logits - highest[place])
    sums = torch.zeros_like(empty).index_add(0, place, powers)
    spread = highest + torch.log(sums)
    return (gains * (spread[place] - logits)).sum() / gains.sum().clamp(min=1e-9)
