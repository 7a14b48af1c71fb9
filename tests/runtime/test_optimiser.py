import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from serendip.runtime.optimiser import AdamW

TRAINING = """
import sys
import torch
from serendip.models.row_adam import RowAdamW
from serendip.runtime.optimiser import AdamW

def learn(optimiser, loss):
    rate = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.9)
    optimiser.zero_grad()
    loss().backward()
    optimiser.step()
    rate.step()
    optimiser.load_state_dict(optimiser.state_dict())

weights, table = (torch.nn.Parameter(torch.ones(3, 2)) for _ in range(2))
learn(AdamW([weights], 0.1), lambda: weights.square().sum())
rows = RowAdamW(table, 1.0, [weights], 0.1, (0.9, 0.98), 0.0)
learn(rows, lambda: (rows.read(torch.tensor([0, 2])) * weights[:2]).sum())
rows.flush()
assert weights.max() < 1 and table[1].min() == 1 and table[0].max() < 1
print("torch._dynamo" in sys.modules)
"""


def fit(make: Any, betas: tuple[float, float], decay: float) -> list[float]:
    weights = nn.Parameter(torch.linspace(-1, 1, 7))
    options: dict[str, Any] = {} if make is AdamW else {"fused": True}
    optimiser = make([weights], lr=0.03, betas=betas, weight_decay=decay, **options)
    for step in range(20):
        optimiser.zero_grad()
        (weights - step).square().sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.load_state_dict(optimiser.state_dict())
    assert weights.requires_grad
    return weights.detach().tolist()


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.98)])
def test_the_numbers_are_those_of_torch(betas: tuple[float, float]) -> None:
    assert fit(AdamW, betas, 0.05) == fit(torch.optim.AdamW, betas, 0.05)
    assert fit(AdamW, betas, 0.0) == fit(torch.optim.Adam, betas, 0.0)


def test_no_optimiser_imports_the_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAINING], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
