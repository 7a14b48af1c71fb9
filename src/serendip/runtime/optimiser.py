"""AdamW (Loshchilov and Hutter 2019) of torch without torch's compiler. Torch, training only.

The methods of ``torch.optim`` are wrapped so that a compiled program leaves them out, and the
wrappers import the compiler at their first call: 1.5 CPU-seconds of each process that trains, of
which nothing here is compiled. The methods inside the wrappers are used as they are.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.optim import AdamW as Wrapped


class AdamW(Wrapped):
    """AdamW by one fused kernel; the numbers are those of ``torch.optim.AdamW``."""

    add_param_group = inspect.unwrap(Wrapped.add_param_group)
    zero_grad = inspect.unwrap(Wrapped.zero_grad)
    state_dict = inspect.unwrap(Wrapped.state_dict)
    load_state_dict = inspect.unwrap(Wrapped.load_state_dict)

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of all parameters; there is no closure."""
        if closure is not None:
            raise NotImplementedError("a step with a closure")
        _step(self)


_step = inspect.unwrap(Wrapped.step)
