"""Training of the blend's network: softmax among the candidates of a request. Torch.

Training examples are the requests whose next item is among the candidates; any order of the other
requests' candidates is equally wrong.

Shapes: Q requests, B requests of a batch, C candidates, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data import Dataset, FloatArray, Query
from serendip.models.sequence.packing import LongArray
from serendip.runtime.optimiser import AdamW
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads
from serendip_bench.blend.config import BlendConfig, BlendNetwork, build_rank_fusion
from serendip_bench.blend.features import BlendCandidates

_QUERIES_PER_BATCH = 256
_WARM_UP_SHARE = 0.3
"""Share of the steps in which the learning rate rises."""

_MIN_DEVIATION = 1e-3
"""Features with a smaller standard deviation are not rescaled."""


def train_network(
    candidates: Callable[[Sequence[Query]], BlendCandidates],
    dataset: Dataset,
    config: BlendConfig,
    options: TrainOptions,
) -> BlendNetwork:
    """Train on a dataset's validation targets; torch's global random state does not change.

    If no part proposes the next item of any user, there are no training examples and the parts are
    fused by rank.
    """
    examples = BlendExamples.of(candidates, dataset, options)
    if not len(examples.sizes):
        return build_rank_fusion(len(config.parts))
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return _fit_network(examples, config, options)


@dataclass(frozen=True, slots=True, eq=False)
class BlendExamples:
    """Requests whose next item is among the candidates, concatenated.

    Args:
        features: (sum of C, F).
        starts, sizes: (Q,) first row and number of each request's candidates.
        targets: (Q,) index of the next item among the request's candidates.
    """

    features: FloatArray
    starts: LongArray
    sizes: LongArray
    targets: LongArray

    @classmethod
    def of(
        cls,
        candidates: Callable[[Sequence[Query]], BlendCandidates],
        dataset: Dataset,
        options: TrainOptions,
    ) -> BlendExamples:
        """Build one request per validation target, from the user's whole history."""
        validation = dataset.validation
        assert validation is not None
        features, sizes, targets = [], [], []
        starts = range(0, len(validation), _QUERIES_PER_BATCH)
        for start in options.progress.track(starts, "Candidates of the blend", len(starts)):
            rows = slice(start, start + _QUERIES_PER_BATCH)
            users = validation.users[rows].tolist()
            batch = candidates([_build_query(dataset, user) for user in users])
            is_target = batch.is_candidate & (batch.items == validation.items[rows, None])  # (B, C)
            has_target = is_target.any(1)  # (B,)
            is_candidate = batch.is_candidate[has_target]
            features.append(batch.features[has_target][is_candidate])  # (sum of C, F)
            sizes.append(is_candidate.sum(1))
            targets.append((np.cumsum(batch.is_candidate, 1) - 1)[is_target])
        empty = np.empty(0, np.int64)
        size = np.concatenate([empty, *sizes])
        return cls(
            np.concatenate(features) if len(size) else np.empty((0, 0), np.float32),
            np.cumsum(size) - size,
            size,
            np.concatenate([empty, *targets]),
        )

    def batch(self, rows: LongArray) -> tuple[Tensor, Tensor, Tensor]:
        """Padded batch: features (B, C, F), mask (B, C) of 0 or -inf, and targets (B,)."""
        columns = np.arange(int(self.sizes[rows].max()))  # (C,)
        is_candidate = columns < self.sizes[rows, None]  # (B, C)
        starts = self.starts[rows, None]  # (B, 1)
        indices = np.where(is_candidate, starts + columns, starts)  # padding repeats the first
        mask = np.where(is_candidate, 0.0, -np.inf).astype(np.float32)
        return (
            torch.from_numpy(self.features[indices]),
            torch.from_numpy(mask),
            torch.from_numpy(self.targets[rows]),
        )


def _build_query(dataset: Dataset, user: int) -> Query:
    """Request of a user with the whole history, which is excluded from the candidates."""
    history = dataset.history(user)
    return Query(history=history, exclude=np.unique(history.item_nums))


def _fit_network(
    examples: BlendExamples, config: BlendConfig, options: TrainOptions
) -> BlendNetwork:
    """Fit the perceptron by softmax cross-entropy among the candidates of each request."""
    random = np.random.default_rng(options.seed)
    mean = examples.features.mean(0, dtype=np.float64).astype(np.float32)  # (F,)
    deviation = examples.features.std(0, dtype=np.float64).astype(np.float32)  # (F,)
    # Dividing by a tiny deviation would make huge inputs of features that vary only later.
    scale = np.where(deviation > _MIN_DEVIATION, deviation, np.float32(1.0))
    shift, divisor = torch.from_numpy(mean), torch.from_numpy(scale)
    network = _build_perceptron(examples.features.shape[1], config)
    optimiser = AdamW(network.parameters(), config.learning_rate, weight_decay=config.reg)
    steps = config.epochs * -(-len(examples.sizes) // config.batch_size)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=steps + 1, pct_start=_WARM_UP_SHARE
    )
    for _ in options.progress.track(range(config.epochs), "Training the blend", config.epochs):
        order = random.permutation(len(examples.sizes))
        for start in range(0, len(order), config.batch_size):
            features, mask, targets = examples.batch(order[start : start + config.batch_size])
            logits = network((features - shift) / divisor)[..., 0] + mask  # (B, C)
            loss = functional.cross_entropy(logits, targets)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
    linear_layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    layers = [
        (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
        for layer in linear_layers
    ]
    return BlendNetwork(mean, scale, layers)


def _build_perceptron(num_features: int, config: BlendConfig) -> nn.Sequential:
    """Two hidden layers with SiLU: features (..., F) -> scores (..., 1)."""
    hidden, half = config.hidden_size, max(1, config.hidden_size // 2)
    return nn.Sequential(
        nn.Linear(num_features, hidden),
        nn.SiLU(),
        nn.Dropout(config.dropout),
        nn.Linear(hidden, half),
        nn.SiLU(),
        nn.Linear(half, 1),
    )
