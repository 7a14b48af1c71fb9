import numpy as np
import torch
from torch import nn

from serendip.models.early_stopping import train_epochs
from serendip.runtime.budget import open_budget
from serendip.runtime.progress import TrainOptions


class Walk:
    """A weight that goes its random way; validations are told beforehand."""

    def __init__(self, values: list[float] | None = None) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(2, 1)
        self.optimiser = torch.optim.Adam(self.module.parameters(), lr=0.1)
        self.random = np.random.default_rng(0)
        self.values = values
        self.epochs: list[int] = []
        self.num_steps = 0

    def epoch(self, number: int) -> None:
        self.epochs.append(number)
        x = torch.randn(4, 2) + float(self.random.normal())
        loss = self.module(x).square().sum()
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.num_steps += 1

    def validate(self) -> float | None:
        return None if self.values is None else self.values[self.epochs[-1]]

    def weight(self) -> list[float]:
        return self.module.weight.detach()[0].tolist()


def run(
    values: list[float] | None,
    epochs: int,
    patience: int,
    validate_every: int = 1,
    options: TrainOptions | None = None,
) -> Walk:
    walk = Walk(values)
    train_epochs(walk, options or TrainOptions(), "test", epochs, patience, validate_every)
    return walk


def test_weights_are_those_of_the_best_validation_or_the_last() -> None:
    best = run([0.1, 0.5], 2, 9)
    longer = run([0.1, 0.5, 0.3, 0.4], 4, 9)
    assert longer.epochs == [0, 1, 2, 3]
    assert longer.weight() == best.weight()
    assert run([0.5, 0.4, 0.3, 0.9], 4, 2).epochs == [0, 1, 2]

    walk = run(None, 3, 1)
    assert walk.epochs == [0, 1, 2]
    last = Walk()
    for number in range(3):
        last.epoch(number)
    assert walk.weight() == last.weight()
    never_seen = 9.0
    walk = run([never_seen, 0.1, never_seen, 0.2, 0.3], 5, 9, validate_every=2)
    assert walk.weight() == run([0.0] * 4 + [0.3], 5, 9).weight()


def test_a_training_whose_time_is_over_tells_the_steps_that_it_made() -> None:
    times = iter([0.0, 0.0, 1.0, 1.0, 2.0])  # the budget, its share, then a look at a time
    budget = open_budget(2, lambda: next(times, 9.0))
    walk = run(None, 9, 9, options=TrainOptions(allowance=budget.from_now(1.0, "walk")))
    (cut,) = budget.cuts
    assert cut.steps == walk.num_steps > 0
    assert cut.done == round(walk.num_steps / 9, 3)
