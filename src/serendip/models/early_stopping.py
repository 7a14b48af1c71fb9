"""Training loop with early stopping by nDCG@10 and crash-safe checkpoints. Torch, training only.

A checkpoint is one safetensors file, replaced atomically after every epoch: weights, the best
weights so far, the optimiser's moments and torch's random state; counters and numpy's random state
are JSON in its header. The header also has a digest of data, config and seed; a run with another
digest ignores the checkpoint.

The stopping metric is nDCG@10 of one target item per request, ranked among all items.

Shapes: R requests, N items, E excluded (request, item) pairs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serendip.data.arrays import FloatArray
from serendip.runtime.progress import TrainOptions

CHECKPOINT_FILE = "training.safetensors"

Weights = dict[str, Tensor]
"""Tensors by name, as in ``state_dict``."""


class Training(Protocol):
    """Training run: state to checkpoint, one epoch and a validation."""

    num_steps: int
    """Optimiser steps made so far, those before a checkpoint included."""

    @property
    def module(self) -> nn.Module:
        """Module with the trained weights."""
        ...

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """Optimiser; checkpoints store its moments, not its settings."""
        ...

    @property
    def random(self) -> np.random.Generator:
        """Source of all randomness that is not torch's."""
        ...

    def epoch(self, number: int) -> None:
        """Train one epoch; depends only on the state above and torch's random state."""
        ...

    def validate(self) -> float | None:
        """Compute the stopping metric, higher is better; None = no validation data."""
        ...


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """Rule of early stopping.

    Args:
        epochs: maximum number of epochs.
        patience: consecutive validations without a better value after which training stops.
        validate_every: epochs from one validation to the next; the last epoch is always validated.
    """

    epochs: int
    patience: int
    validate_every: int = 1


@dataclass(slots=True)
class _Counters:
    """Finished epochs, best validation value, validations since then, and optimiser steps.

    The field names are keys in checkpoints.
    """

    done: int = 0
    best: float = -np.inf
    waited: int = 0
    steps: int = 0


def train_epochs(
    training: Training, stopping: StoppingRule, options: TrainOptions, digest: str, name: str
) -> None:
    """Train until the stopping metric stops improving; the module ends with the best weights.

    Args:
        training: changed in place.
        stopping: maximum number of epochs, patience.
        options: ``progress`` reports the epochs; ``checkpoint`` makes the run resumable; once the
            time of ``allowance`` is over, no epoch begins.
        digest: of data, config and seed; a checkpoint with another digest is not resumed.
        name: label of the progress report.
    """
    counters, best = _Counters(), None
    file = None if options.checkpoint is None else options.checkpoint / CHECKPOINT_FILE
    if file is not None and file.exists():
        counters, best = _restore(file, training, digest)
        training.num_steps = counters.steps
    epochs = range(stopping.epochs)
    for epoch in options.progress.track(epochs, name, len(epochs)):
        over = options.allowance.is_over
        if epoch < counters.done or counters.waited >= stopping.patience or over:
            continue
        training.epoch(epoch)
        counters.done, counters.steps = epoch + 1, training.num_steps
        is_last = counters.done == stopping.epochs or options.allowance.is_over
        if counters.done % stopping.validate_every == 0 or is_last:
            value = training.validate()
            counters.waited += value is not None
            if value is None or value > counters.best:
                counters.best, counters.waited = value or 0.0, 0
                best = _copy(training.module, best)
        if file is not None:
            _store(file, training, digest, counters, best)
    if counters.waited < stopping.patience:
        options.allowance.cut(counters.done / stopping.epochs, steps=counters.steps)
    if best is not None:
        training.module.load_state_dict(best)
    if file is not None:
        file.unlink(missing_ok=True)


def _copy(module: nn.Module, into: Weights | None = None) -> Weights:
    """Copy the weights of a module, into an earlier copy if there is one."""
    weights = {name: value.detach() for name, value in module.state_dict().items()}
    if into is None:
        return {name: value.clone() for name, value in weights.items()}
    for name, value in weights.items():
        into[name].copy_(value)
    return into


def _store(
    file: Path, training: Training, digest: str, counters: _Counters, best: Weights | None
) -> None:
    """Write a checkpoint atomically: to a partial file, which then replaces the old one."""
    from safetensors.torch import save_file

    tensors = {f"now/{name}": value for name, value in training.module.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in (best or {}).items()}
    tensors["torch_random"] = torch.get_rng_state()
    for number, state in training.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{number}/{key}": value for key, value in state.items()}
    header = {
        "digest": digest,
        "counters": json.dumps(asdict(counters)),
        "random": json.dumps(training.random.bit_generator.state),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    save_file(tensors, partial, header)
    partial.replace(file)


def _restore(file: Path, training: Training, digest: str) -> tuple[_Counters, Weights | None]:
    """Restore the state of a checkpoint; return counters and best weights, if there are any.

    A checkpoint of another digest is ignored.
    """
    from safetensors import safe_open

    with safe_open(file, "pt") as stored:
        header = stored.metadata()
        if header["digest"] != digest:
            return _Counters(), None
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    training.module.load_state_dict(_select("now/", tensors))
    moments: dict[int, dict[str, Any]] = {}
    for name, value in _select("optimiser/", tensors).items():
        number, key = name.split("/")
        moments.setdefault(int(number), {})[key] = value
    groups = training.optimiser.state_dict()["param_groups"]
    training.optimiser.load_state_dict({"state": moments, "param_groups": groups})
    torch.set_rng_state(tensors["torch_random"])
    training.random.bit_generator.state = json.loads(header["random"])
    return _Counters(**json.loads(header["counters"])), _select("best/", tensors) or None


def _select(prefix: str, tensors: Weights) -> Weights:
    """Tensors whose names start with a prefix, which is removed."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


_TOP = 10
"""Cut-off k of nDCG@k."""


def compute_target_ndcg(
    scores: FloatArray,
    targets: NDArray[np.int64],
    excluded: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.float64]:
    """Compute nDCG@10 (R,) of one target per request: 1 / log2(rank + 1), 0 beyond rank 10.

    Ties count half; a NaN score ranks last.

    Args:
        scores: (R, N); changed in place.
        targets: (R,) item numbers.
        excluded: rows (E,) and items (E,) that are not ranked, unless they are a row's target.
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
