"""A cross-encoder: layers of a transformer over pairs that were read together. Training only.

Cheap features say first what they can, by logistic regression; the upper layers of a text encoder
and a linear head on the mean of the pair's tokens learn what that leaves. The layers below stay as
they are (``content.pair_reader``). A fifth of the units decides when to stop and is kept for
whoever chooses a cut.

Shapes: P pairs, F features, B pairs of a batch, T tokens of a pair, C numbers of a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.models.early_stopping import Stopping, train_epochs
from serendip.models.logistic import Logistic
from serendip.runtime.progress import TrainOptions

States = Sequence[NDArray[np.float16]]
"""Of each pair (T, C), as the lower layers leave it."""

_AT_ONCE = 64
_POOL = 16


class CrossEncoderConfig(Config):
    """How it is trained."""

    lower_layers: int = 4
    """Of the six, that stay as they are."""

    tokens: int = 40
    """Of a pair at most; longer texts are cut."""

    epochs: int = 2
    """Passes at most."""

    batch_size: int = 32
    """Pairs of a step."""

    learning_rate: float = 2e-4
    """Of the layers, falling to 0; the head has five times as much."""

    reg: float = 30.0
    """Of the logistic regression on cheap features."""

    held_share: float = 0.2
    """Share of the units that decides when to stop."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossEncoder:
    """Says how bad pairs are.

    Args:
        base: what cheap features say.
        network: what reading adds.
    """

    base: Logistic
    network: Any

    def values(self, states: States, features: FloatArray) -> FloatArray:
        """(P,) log-odds that pairs are bad; of each pair, whatever the rest."""
        values = self.base.values(features)
        self.network.eval()
        order = np.argsort([len(one) for one in states], kind="stable")
        with torch.inference_mode():
            for begin in range(0, len(order), _AT_ONCE):
                rows = order[begin : begin + _AT_ONCE]
                values[rows] += self.network(*_padded(states, rows)).numpy()
        return values


@dataclass(frozen=True, slots=True, eq=False)
class TaughtCrossEncoder:
    """What was learned.

    Args:
        encoder: from all but the held pairs.
        held: (P,) pairs that it has not learned from.
    """

    encoder: CrossEncoder
    held: BoolArray


class _Network(nn.Module):
    def __init__(self, upper: Any, size: int) -> None:
        super().__init__()
        self.upper, self.head = upper, nn.Linear(size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(B,) log-odds beside those of the base, of (B, T, C) and (B, T)."""
        for layer in self.upper:
            hidden = layer(hidden, mask[:, None, None, :])
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return self.head((hidden * weights).sum(1) / weights.sum(1)).squeeze(-1)  # type: ignore[no-any-return]


def train_cross_encoder(
    upper: Any,
    states: States,
    features: FloatArray,
    is_bad: BoolArray,
    units: IntArray,
    config: CrossEncoderConfig,
    options: TrainOptions,
) -> TaughtCrossEncoder:
    """Learn from labelled pairs.

    Args:
        upper: layers to learn, a module list of its own.
        states: P pairs, as the layers below leave them.
        features: (P, F) cheap ones.
        is_bad: (P,) labels.
        units: (P,) int32 what is kept together when pairs are parted.
        config: how.
        options: seed and progress.
    """
    torch.manual_seed(options.seed)
    different = np.unique(units)
    count = max(1, int(config.held_share * len(different)))
    drawn = np.random.default_rng(options.seed).permutation(different)[:count]
    held = np.isin(units, drawn)
    learned = held if held.all() else ~held
    base = Logistic.fit(features[learned], is_bad[learned], config.reg)
    encoder = CrossEncoder(base, _Network(upper, states[0].shape[1]))
    labelled = base.values(features), is_bad
    training = _Training(encoder, states, labelled, (learned, held), config, options.seed)
    stopping = Stopping(config.epochs, config.epochs)
    train_epochs(training, stopping, options, "", "Teacher")
    return TaughtCrossEncoder(encoder, held)


class _Training:
    """Binary cross-entropy on top of the base, by pairs of about one length."""

    def __init__(
        self,
        encoder: CrossEncoder,
        states: States,
        labelled: tuple[FloatArray, BoolArray],
        parts: tuple[BoolArray, BoolArray],
        config: CrossEncoderConfig,
        seed: int,
    ) -> None:
        self.module: nn.Module = encoder.network
        self.random = np.random.default_rng(seed)
        self._states, (self._base, self._bad) = states, labelled
        self._learned, self._held = (np.flatnonzero(part) for part in parts)
        rate = config.learning_rate
        groups = [
            {"params": list(encoder.network.upper.parameters()), "lr": rate},
            {"params": list(encoder.network.head.parameters()), "lr": 5 * rate},
        ]
        self.optimiser: torch.optim.Optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        self._size, self._epochs = config.batch_size, config.epochs
        self._rates = [group["lr"] for group in self.optimiser.param_groups]

    def epoch(self, number: int) -> None:
        """All learned pairs once, at a rate that falls over all passes."""
        self.module.train()
        batches = list(self._batches())
        for step, rows in enumerate(batches):
            left = 1 - (number + step / len(batches)) / self._epochs
            for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
                group["lr"] = rate * left
            self.optimiser.zero_grad()
            self._loss(rows).backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()

    def validate(self) -> float | None:
        """Minus the loss of the held pairs."""
        self.module.eval()
        with torch.inference_mode():
            parts = np.array_split(self._held, -(-len(self._held) // _AT_ONCE))
            total = sum(float(self._loss(rows)) * len(rows) for rows in parts)
        return -total / len(self._held)

    def _loss(self, rows: NDArray[np.intp]) -> Tensor:
        values = self.module(*_padded(self._states, rows)) + torch.from_numpy(self._base[rows])
        labels = torch.from_numpy(self._bad[rows].astype(np.float32))
        return nn.functional.binary_cross_entropy_with_logits(values, labels)

    def _batches(self) -> Iterator[NDArray[np.intp]]:
        rows = self.random.permutation(self._learned)
        for begin in range(0, len(rows), self._size * _POOL):
            pool = rows[begin : begin + self._size * _POOL]
            lengths = [len(self._states[row]) for row in pool.tolist()]
            pool = pool[np.argsort(lengths, kind="stable")]
            parts = np.array_split(pool, -(-len(pool) // self._size))
            yield from (parts[at] for at in self.random.permutation(len(parts)))


def _padded(states: States, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
    """(B, T, C) float32 and (B, T) which tokens are there."""
    own = [states[row] for row in rows.tolist()]
    hidden = np.zeros((len(own), max(map(len, own)), own[0].shape[1]), np.float32)
    mask = np.zeros(hidden.shape[:2], np.bool_)
    for place, one in enumerate(own):
        hidden[place, : len(one)] = one
        mask[place, : len(one)] = True
    return torch.from_numpy(hidden), torch.from_numpy(mask)
