"""Training loop of torch modules with early stopping.

Retrievers and sequence models stop by nDCG@10 of one target item per request, ranked among all
items, the ranker by its loss.

Shapes: R requests, N items, E excluded (request, item) pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from serendip.data import FloatArray
from serendip.runtime.progress import TrainOptions

if TYPE_CHECKING:
    from torch import Tensor, nn


class Training(Protocol):
    """Training run: one epoch and a validation."""

    num_steps: int

    @property
    def module(self) -> nn.Module:
        """Module with the trained weights."""
        ...

    def epoch(self, number: int) -> None:
        """Train one epoch."""
        ...

    def validate(self) -> float | None:
        """Compute the stopping metric, higher is better; None = no validation data."""
        ...


def train_epochs(
    training: Training,
    options: TrainOptions,
    name: str,
    epochs: int,
    patience: int,
    validate_every: int = 1,
) -> None:
    """Train until the stopping metric stops improving; the module ends with the best weights.

    Once the time of ``options.allowance`` is over, no epoch but the first one begins. ``patience``
    is the number of consecutive validations without a better value after which training stops;
    ``validate_every`` epochs lie from one to the next, and the last epoch is always validated.
    """
    highest, waited, done = -np.inf, 0, 0
    best: dict[str, Tensor] | None = None
    for epoch in options.progress.track(range(epochs), name, epochs):
        if waited >= patience or (done and options.allowance.is_over):
            break
        training.epoch(epoch)
        done = epoch + 1
        is_last = done == epochs or options.allowance.is_over
        if done % validate_every == 0 or is_last:
            value = training.validate()
            waited += value is not None
            if value is None or value > highest:
                highest, waited = value or 0.0, 0
                best = _copy(training.module, best)
    if waited < patience:
        options.allowance.cut(done / epochs, steps=training.num_steps)
    if best is not None:
        training.module.load_state_dict(best)


def _copy(module: nn.Module, into: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """Copy the weights of a module, into an earlier copy if there is one."""
    weights = {name: value.detach() for name, value in module.state_dict().items()}
    if into is None:
        return {name: value.clone() for name, value in weights.items()}
    for name, value in weights.items():
        into[name].copy_(value)
    return into


_TOP = 10


def compute_target_ndcg(
    scores: FloatArray,
    targets: NDArray[np.int64],
    excluded: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.float64]:
    """Compute nDCG@10 (R,) of one target per request: 1 / log2(rank + 1), 0 beyond rank 10.

    Scores (R, N) are changed in place; ties count half, and a NaN ranks last. ``excluded`` has rows
    (E,) and items (E,) that are not ranked, unless they are a row's target.
    """
    rows = np.arange(len(targets))
    target_scores = scores[rows, targets][:, None]  # (R, 1)
    scores[excluded] = -np.inf
    scores[rows, targets] = target_scores[:, 0]
    higher = np.count_nonzero(scores > target_scores, axis=1)  # (R,)
    # Rank from 0; the target itself is one of the equal scores.
    rank = higher + (np.count_nonzero(scores == target_scores, axis=1) - 1) / 2
    rank[np.isnan(target_scores[:, 0])] = _TOP
    return np.where(rank < _TOP, 1 / np.log2(rank + 2), 0.0)
