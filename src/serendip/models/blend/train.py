"""Training of the blend's network: softmax among the candidates of a request. Torch.

Only requests whose next item was proposed by a part are training examples; for the others no order
of the candidates is right.

Shapes: Q requests, C candidates, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset
from serendip.data.query import Query
from serendip.models.blend.config import BlendConfig, BlendNetwork, fused_by_rank
from serendip.models.blend.features import BlendCandidates
from serendip.models.sequence.packing import LongArray
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads

_QUERIES_AT_ONCE = 256
_WARM_SHARE = 0.3
_LEAST_SPREAD = 1e-3


def train_network(
    candidates: Callable[[Sequence[Query]], BlendCandidates],
    dataset: Dataset,
    config: BlendConfig,
    options: TrainOptions,
) -> BlendNetwork:
    """Learn from the validation targets of a dataset; leaves torch's own random state as it was.

    Where no part proposes the next item of any user there is nothing to learn, and the parts are
    fused by rank.
    """
    examples = BlendExamples.of(candidates, dataset, options)
    if not len(examples.sizes):
        return fused_by_rank(len(config.parts))
    torch.set_num_threads(num_threads())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return _fitted(examples, config, options)


@dataclass(frozen=True, slots=True, eq=False)
class BlendExamples:
    """Requests whose next item is among the candidates, one after the other.

    Args:
        features: (sum of C, F).
        starts, sizes: (Q,) where each request's candidates begin, and how many they are.
        wanted: (Q,) place of the next item among them.
    """

    features: FloatArray
    starts: LongArray
    sizes: LongArray
    wanted: LongArray

    @classmethod
    def of(
        cls,
        candidates: Callable[[Sequence[Query]], BlendCandidates],
        dataset: Dataset,
        options: TrainOptions,
    ) -> BlendExamples:
        """The users of the validation targets, each with all of its history."""
        held = dataset.validation
        assert held is not None
        features, sizes, wanted = [], [], []
        starts = range(0, len(held), _QUERIES_AT_ONCE)
        for start in options.progress.track(starts, "Candidates of the blend", len(starts)):
            rows = slice(start, start + _QUERIES_AT_ONCE)
            found = candidates([_query(dataset, user) for user in held.users[rows].tolist()])
            hits = found.real & (found.items == held.items[rows, None])
            useful = hits.any(1)
            real = found.real[useful]
            features.append(found.features[useful][real])
            sizes.append(real.sum(1))
            wanted.append((np.cumsum(found.real, 1) - 1)[hits])
        none = np.empty(0, np.int64)
        size = np.concatenate([none, *sizes])
        return cls(
            np.concatenate(features) if len(size) else np.empty((0, 0), np.float32),
            np.cumsum(size) - size,
            size,
            np.concatenate([none, *wanted]),
        )

    def batch(self, rows: LongArray) -> tuple[Tensor, Tensor, Tensor]:
        """Padded features (b, C, F), 0 or -inf per candidate (b, C) and wanted places (b,)."""
        columns = np.arange(int(self.sizes[rows].max()))
        real = columns < self.sizes[rows, None]
        places = np.where(real, self.starts[rows, None] + columns, self.starts[rows, None])
        closed = np.where(real, 0.0, -np.inf).astype(np.float32)
        return (
            torch.from_numpy(self.features[places]),
            torch.from_numpy(closed),
            torch.from_numpy(self.wanted[rows]),
        )


def _query(dataset: Dataset, user: int) -> Query:
    history = dataset.history(user)
    return Query(history=history, exclude=np.unique(history.item_nums))


def _fitted(examples: BlendExamples, config: BlendConfig, options: TrainOptions) -> BlendNetwork:
    random = np.random.default_rng(options.seed)
    mean = examples.features.mean(0, dtype=np.float64).astype(np.float32)
    spread = examples.features.std(0, dtype=np.float64).astype(np.float32)
    # What never differed says nothing, and must not shout when it differs one day.
    scale = np.where(spread > _LEAST_SPREAD, spread, np.float32(1.0))
    centre, width = torch.from_numpy(mean), torch.from_numpy(scale)
    network = _perceptron(examples.features.shape[1], config)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.reg, fused=True
    )
    steps = config.epochs * -(-len(examples.sizes) // config.batch_size)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=steps + 1, pct_start=_WARM_SHARE
    )
    for _ in options.progress.track(range(config.epochs), "Training the blend", config.epochs):
        order = random.permutation(len(examples.sizes))
        for start in range(0, len(order), config.batch_size):
            features, closed, wanted = examples.batch(order[start : start + config.batch_size])
            logits = network((features - centre) / width)[..., 0] + closed
            loss = functional.cross_entropy(logits, wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    layers = [
        (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
        for layer in linear
    ]
    return BlendNetwork(mean, scale, layers)


def _perceptron(num_features: int, config: BlendConfig) -> nn.Sequential:
    hidden, half = config.hidden_size, max(1, config.hidden_size // 2)
    return nn.Sequential(
        nn.Linear(num_features, hidden),
        nn.SiLU(),
        nn.Dropout(config.dropout),
        nn.Linear(hidden, half),
        nn.SiLU(),
        nn.Linear(half, 1),
    )
