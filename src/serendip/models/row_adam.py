"""AdamW for an embedding table: a step costs as much as the rows it reads, not as the table has.

A row without a gradient still moves in AdamW (Loshchilov and Hutter 2019), by its momentum and by
weight decay. Here these moves are added up and made when the row is next read, so that the result
is that of AdamW with dense gradients, up to rounding. (Lazy Adam, which leaves them out, moves rare
rows about ten times less.)

With moments m and v of a row after step s, and no gradient until step t, the moves add up to
``sum w_i b1^(i-s) m / sqrt(b2^(i-s) v)`` over the steps i from s + 1 to t, where ``w_i`` is the
learning rate of step i with its bias corrections and with the weight decay of the steps after it.
This is ``tail * m / sqrt(v)`` with the same ``tail`` for all rows last read at step s.

Shapes: N rows of the table, R rows of a step, E row size, S steps since the last flush.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serendip.runtime.optimiser import AdamW

_TAIL = 160
"""Steps after which the momentum of a row has no effect: (.9 / sqrt(.98))^160 is 2e-7."""

_ROWS_AT_ONCE = 8_192


@dataclass(frozen=True, slots=True, eq=False)
class ReadRows:
    """Rows of a step, moved to the present.

    Args:
        numbers: (R,) int64, distinct.
        values: (R, E), a leaf of the graph: its gradient is that of the rows.
        mean: (R, E) first moments.
        square: (R, E) second moments.
    """

    numbers: Tensor
    values: Tensor
    mean: Tensor
    square: Tensor


class RowAdamW(AdamW):
    """AdamW of a network with one embedding table (N, E), whose rows are read by ``read``.

    The table may be empty; its learning rate is ``relative`` times ``lr``, that of the others.
    """

    def __init__(
        self,
        table: nn.Parameter,
        relative: float,
        others: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        self.others = list(others)
        groups = [
            {"params": self.others, "relative": 1.0},
            {"params": [table], "relative": relative},
        ]
        super().__init__(groups, lr, betas, weight_decay)
        self.table = table
        self.state[table] = {
            "step": torch.zeros(()),
            "exp_avg": torch.zeros_like(table),
            "exp_avg_sq": torch.zeros_like(table),
        }
        self.rows: ReadRows | None = None
        self._root = 1.0  # bias correction of the second moments
        self._begin()

    def _begin(self) -> None:
        self._read_at: NDArray[np.int32] = np.zeros(len(self.table), np.int32)  # (N,) step
        # (S + 1,) tail of rows read at each step, over the weight decay of all steps
        self._tails: NDArray[np.float64] = np.zeros(1)
        self._shrunk: NDArray[np.float64] = np.zeros(1)  # (S + 1,) sums of log weight decay
        self._num_steps = 0

    def set_rate(self, rate: float) -> None:
        """Set the learning rate; that of the table is its multiple."""
        for group in self.param_groups:
            group["lr"] = rate * group["relative"]

    @torch.no_grad()
    def read(self, numbers: Tensor) -> Tensor:
        """Values (R, E) of distinct rows (R,) for the forward pass of a step, with gradients."""
        values, mean, square = self._present(numbers)
        self.rows = ReadRows(numbers, values.requires_grad_(), mean, square)
        return self.rows.values

    def _present(self, numbers: Tensor | slice) -> tuple[Tensor, Tensor, Tensor]:
        """Copies of rows and their moments, (R, E) each, as they are after the last step."""
        state, group = self.state[self.table], self.param_groups[1]
        values, mean, square = (
            part[numbers].clone() if isinstance(numbers, slice) else part.index_select(0, numbers)
            for part in (self.table.detach(), state["exp_avg"], state["exp_avg_sq"])
        )
        read_at = self._read_at[numbers if isinstance(numbers, slice) else numbers.numpy()]  # (R,)
        first, second = group["betas"]
        missed = self._num_steps - read_at.astype(np.float64)  # (R,)
        shrunk = self._shrunk[self._num_steps]
        factors = [
            self._tails[read_at] * np.exp(shrunk),
            np.exp(shrunk - self._shrunk[read_at]),
            first**missed,
            second**missed,
        ]
        tail, shrink, keep_mean, keep_square = (
            torch.from_numpy(factor.astype(np.float32))[:, None] for factor in factors
        )
        values.mul_(shrink).sub_(tail * mean / (square.sqrt() + group["eps"] * self._root))
        return values, mean.mul_(keep_mean), square.mul_(keep_square)

    def clip_gradients(self, most: float) -> None:
        """Scale all gradients of a step so that their joint norm is at most ``most``."""
        rows = [] if self.rows is None else [self.rows.values]
        nn.utils.clip_grad_norm_([*self.others, *rows], most)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of all parameters; ``closure`` is not supported."""
        super().step()
        state, group = self.state[self.table], self.param_groups[1]
        state["step"] += 1
        (first, second), step = group["betas"], float(state["step"])
        root = self._root = math.sqrt(1 - second**step)
        weight = group["lr"] * root / (1 - first**step)
        shrink = 1 - group["lr"] * group["weight_decay"]
        self._count_step(weight, math.log(shrink), first / math.sqrt(second))
        if self.rows is None or self.rows.values.grad is None:
            return
        rows, gradient = self.rows, self.rows.values.grad
        mean = rows.mean.lerp_(gradient, 1 - first)
        square = rows.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        moved = mean / square.sqrt().add_(group["eps"] * root)
        values = rows.values.detach().mul_(shrink).sub_(moved, alpha=weight)
        for part, new in ((self.table, values), (state["exp_avg"], mean)):
            part.index_copy_(0, rows.numbers, new)
        state["exp_avg_sq"].index_copy_(0, rows.numbers, square)
        self._read_at[rows.numbers.numpy()] = self._num_steps
        self.rows = None

    def _count_step(self, weight: float, log_shrink: float, ratio: float) -> None:
        self._num_steps += 1
        now = self._num_steps
        if now == len(self._tails):
            self._tails = np.concatenate([self._tails, np.zeros(max(1_024, now))])
            self._shrunk = np.concatenate([self._shrunk, np.zeros(max(1_024, now))])
        self._shrunk[now] = self._shrunk[now - 1] + log_shrink
        begin, scaled = max(0, now - _TAIL), weight * math.exp(-self._shrunk[now])
        self._tails[begin:now] += scaled * ratio ** np.arange(now - begin, 0, -1)

    @torch.no_grad()
    def flush(self) -> None:
        """Move all rows of the table to the present: before a validation, an export.

        Costs a pass over the table.
        """
        state = self.state[self.table]
        for begin in range(0, len(self.table) if self._num_steps else 0, _ROWS_AT_ONCE):
            block = slice(begin, begin + _ROWS_AT_ONCE)
            values, mean, square = self._present(block)
            self.table[block], state["exp_avg"][block] = values, mean
            state["exp_avg_sq"][block] = square
        self._begin()
