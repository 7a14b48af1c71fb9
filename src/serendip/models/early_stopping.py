"""Training loop with early stopping by nDCG@10 and crash-safe checkpoints. Torch, training only.

A checkpoint is one safetensors file, replaced atomically after every epoch: weights, the best
weights so far, the optimiser's moments and torch's random state; counters and numpy's random state
are JSON in its header. It carries a digest of data, config and seed, and a training with another
digest ignores it.

The stopping metric is nDCG@10 of one target item per request among all items.

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


class Training(Protocol):
    """What is trained in passes."""

    @property
    def module(self) -> nn.Module:
        """What learns."""
        ...

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """How; its settings come with the training, its moments are kept."""
        ...

    @property
    def random(self) -> np.random.Generator:
        """All randomness that is not torch's."""
        ...

    def epoch(self, number: int) -> None:
        """One pass; depends on nothing but the state above and torch's random state."""
        ...

    def validate(self) -> float | None:
        """The value to stop by, higher is better; None = there is nothing to stop by."""
        ...


@dataclass(frozen=True, slots=True)
class Stopping:
    """When to stop.

    Args:
        epochs: most passes.
        patience: validations without a better value before training stops.
        validate_every: passes between two validations; the last pass is always validated.
    """

    epochs: int
    patience: int
    validate_every: int = 1


@dataclass(slots=True)
class _Counters:
    done: int = 0
    best: float = -np.inf
    waited: int = 0


def train_epochs(
    training: Training, stopping: Stopping, options: TrainOptions, digest: str, name: str
) -> None:
    """Train until the validation stops getting better; leaves the best weights in the module.

    Args:
        training: its state is changed.
        stopping: how long.
        options: its ``progress`` follows the passes; its ``checkpoint`` makes the run resumable.
        digest: what the numbers depend on; a checkpoint with another one is not continued.
        name: shown while it runs.
    """
    counters, best = _Counters(), _copy(training.module)
    file = None if options.checkpoint is None else options.checkpoint / CHECKPOINT_FILE
    if file is not None and file.exists():
        counters, best = _restore(file, training, digest, counters, best)
    epochs = range(stopping.epochs)
    for epoch in options.progress.track(epochs, name, len(epochs)):
        if epoch < counters.done or counters.waited >= stopping.patience:
            continue
        training.epoch(epoch)
        counters.done = epoch + 1
        if counters.done % stopping.validate_every == 0 or counters.done == stopping.epochs:
            value = training.validate()
            counters.waited += value is not None
            if value is None or value > counters.best:
                counters.best, counters.waited = value or 0.0, 0
                best = _copy(training.module)
        if file is not None:
            _store(file, training, digest, counters, best)
    training.module.load_state_dict(best)
    if file is not None:
        file.unlink(missing_ok=True)


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _store(
    file: Path, training: Training, digest: str, counters: _Counters, best: dict[str, Tensor]
) -> None:
    from safetensors.torch import save_file

    tensors = {f"now/{name}": value for name, value in _copy(training.module).items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
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


def _restore(
    file: Path, training: Training, digest: str, counters: _Counters, best: dict[str, Tensor]
) -> tuple[_Counters, dict[str, Tensor]]:
    """The state of a checkpoint; what was given where it belongs to another training."""
    from safetensors import safe_open

    with safe_open(file, "pt") as stored:
        header = stored.metadata()
        if header["digest"] != digest:
            return counters, best
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    training.module.load_state_dict(_under("now/", tensors))
    moments: dict[int, dict[str, Any]] = {}
    for name, value in _under("optimiser/", tensors).items():
        number, key = name.split("/")
        moments.setdefault(int(number), {})[key] = value
    groups = training.optimiser.state_dict()["param_groups"]
    training.optimiser.load_state_dict({"state": moments, "param_groups": groups})
    torch.set_rng_state(tensors["torch_random"])
    training.random.bit_generator.state = json.loads(header["random"])
    return _Counters(**json.loads(header["counters"])), _under("best/", tensors)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


_TOP = 10


def ndcg_of_wanted(
    scores: FloatArray,
    wanted: NDArray[np.int64],
    excluded: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.float64]:
    """(R,) 1 / log2(rank + 1) where rank <= 10, else 0; ties count half, NaN comes last.

    Args:
        scores: (R, N); they change.
        wanted: (R,) item numbers.
        excluded: rows (E,) and items (E,) not ranked; a wanted item always is.
    """
    line = np.arange(len(wanted))
    own = scores[line, wanted][:, None]
    scores[excluded] = -np.inf
    scores[line, wanted] = own[:, 0]
    above = np.count_nonzero(scores > own, axis=1)
    place = above + (np.count_nonzero(scores == own, axis=1) - 1) / 2
    place[np.isnan(own[:, 0])] = _TOP
    return np.where(place < _TOP, 1 / np.log2(place + 2), 0.0)
