from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from serendip.models.row_adam import RowAdamW

SIZE = 3
STEPS = st.lists(st.lists(st.integers(0, 11), max_size=5, unique=True), min_size=1, max_size=40)


def make(rows: int = 12) -> tuple[nn.Parameter, nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    table = nn.Parameter(torch.randn(rows, SIZE, generator=random))
    return table, nn.Parameter(torch.randn(SIZE, generator=random))


def rate(step: int) -> float:
    return 0.02 / (1 + step / 7)


def loss_of(values: torch.Tensor, other: nn.Parameter, step: int) -> torch.Tensor:
    target = torch.arange(values.numel(), dtype=torch.float32).view_as(values).cos() + step % 3
    return (values * other - target).square().sum() + other.square().sum()


def run_rows(steps: list[list[int]], flushes: set[int] = frozenset()) -> tuple[Any, Any]:  # type: ignore[assignment]
    """The table and the other parameter after steps that read some rows each."""
    table, other = make()
    optimiser = RowAdamW(table, 3.0, [other], 0.1, (0.9, 0.98), 0.05)
    for step, numbers in enumerate(steps):
        optimiser.set_rate(rate(step))
        values = optimiser.read(torch.tensor(numbers, dtype=torch.int64))
        optimiser.zero_grad()
        loss_of(values, other, step).backward()  # type: ignore[no-untyped-call]
        optimiser.clip_gradients(1.0)
        optimiser.step()
        if step in flushes:
            optimiser.flush()
    optimiser.flush()
    return table.detach(), other.detach()


def run_dense(steps: list[list[int]]) -> tuple[Any, Any]:
    """The same with the gradients of the whole table, by torch's AdamW."""
    table, other = make()
    groups: list[dict[str, Any]] = [{"params": [other], "times": 1.0}]
    groups.append({"params": [table], "times": 3.0})
    optimiser = torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.98), weight_decay=0.05)
    for step, numbers in enumerate(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step) * group["times"]
        optimiser.zero_grad(set_to_none=False)
        loss_of(table[torch.tensor(numbers, dtype=torch.int64)], other, step).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([other, table], 1.0)
        optimiser.step()
    return table.detach(), other.detach()


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_rows_end_where_dense_gradients_put_them(steps: list[list[int]]) -> None:
    for found, expected in zip(run_rows(steps), run_dense(steps), strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-3)


def test_a_step_touches_only_the_rows_that_it_read_and_they_end_where_dense_ones_do() -> None:
    steps = [[0, 1], [2], *([[3]] * 400), [1]]
    found, expected = run_rows(steps)[0], run_dense(steps)[0]
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-3)

    table, other = make(1_000)
    before = table.detach().clone()
    optimiser = RowAdamW(table, 1.0, [other], 0.1, (0.9, 0.98), 0.05)
    loss_of(optimiser.read(torch.tensor([3, 700])), other, 0).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    moved = (table.detach() != before).any(1).nonzero()[:, 0]
    assert moved.tolist() == [3, 700]
